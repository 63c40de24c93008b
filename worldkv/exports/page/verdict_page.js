// The page of a promotion that has no rows.
byId("title").textContent = document.title;
showVerdict();
document.documentElement.dataset.ready = "0";
