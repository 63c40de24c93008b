// The page of a sweep.
function start() {
  const { rows, notes } = HEAD.document;
  byId("title").textContent = document.title;
  byId("setting").textContent = `recall and bytes are counted, times predicted; ${HEAD.geometry}`;
  byId("notes").replaceChildren(...notes.map((text) => element("li", { text })));
  legend();
  const panels = [];
  for (const trajectory of new Set(rows.map((row) => row.trajectory))) {
    const own = rows.filter((row) => row.trajectory === trajectory);
    for (const [measure, name] of [["revisit_recall", "revisit recall"], ["attention_recall", "attention recall"]]) {
      if (own.every((row) => row[measure] === null)) continue;
      const both = [panel(own, "window_tokens_peak", measure, "count", "window tokens at the peak"), panel(own, "bytes_moved", measure, "bytes", "moved between device and host")];
      panels.push(...both);
      byId("fronts").append(element("h3", { text: `${trajectory}: ${name}` }), element("div", {}, ...both.map((one) => one.figure)));
    }
  }
  let chosen = Math.max(0, HEAD.names.indexOf(readName()));
  const rowOf = (place) => HEAD.names.indexOf(rows[place].policy);
  const choose = (place) => { chosen = rowOf(place); show(); };
  const mark = sortable(byId("rows"), HEAD.columns, rows, (place) => rowOf(place) === chosen, choose, rowOf);

  function show() {
    mark();
    for (const one of panels) one.show(chosen);
    history.replaceState(null, "", `#${new URLSearchParams({ policy: HEAD.names[chosen] })}`);
  }
  addEventListener("hashchange", () => { chosen = Math.max(0, HEAD.names.indexOf(readName())); show(); });
  show();
}

const readName = () => new URLSearchParams(location.hash.slice(1)).get("policy");
start();
document.documentElement.dataset.ready = "0";
