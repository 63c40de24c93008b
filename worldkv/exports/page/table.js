// A table whose headings sort it and whose rows choose a policy.
function sortable(table, columns, rows, isChosen, choose, rowOf) {
  let key = null, ascending = true;
  const kindOf = Object.fromEntries(columns.map((one) => [one.key, one.kind]));

  function before(a, b) {
    const x = rows[a][key] ?? null, y = rows[b][key] ?? null;
    if (x === null || y === null) return (x === null) - (y === null);
    const order = kindOf[key] === "text" ? String(x).localeCompare(String(y), "en", { numeric: true }) : x - y;
    return ascending ? order : -order;
  }

  function sort(by) {
    ascending = key === by ? !ascending : kindOf[by] === "text";
    key = by;
    draw();
    table.tHead.querySelector(`[data-key="${CSS.escape(by)}"]`).focus();
  }

  function head({ head: name, key: by, kind }) {
    const order = key === by ? (ascending ? "ascending" : "descending") : "none";
    const button = element("button", { type: "button", "data-key": by, text: name, onclick: () => sort(by) });
    return element("th", { scope: "col", class: kind, "aria-sort": order }, button);
  }

  // A radio button where every row is a policy of its own; of several rows a policy each is a button.
  const isOneEach = rows.length === HEAD.names.length;

  function policy(place) {
    const name = isOneEach ? HEAD.names[place] : rows[place].policy;
    const control = isOneEach
      ? element("label", {}, element("input", { type: "radio", name: "policy", value: place, onchange: () => choose(place) }), swatch(rowOf(place)), name)
      : element("button", { type: "button", onclick: () => choose(place) }, swatch(rowOf(place)), name);
    return element("th", { scope: "row", class: "text" }, control);
  }

  function check(tr, place) {
    tr.classList.toggle("chosen", isChosen(place));
    const control = tr.querySelector("th input, th button");
    if (isOneEach) control.checked = isChosen(place);
    else control.setAttribute("aria-pressed", isChosen(place));
  }

  function line(place) {
    const row = rows[place];
    const cells = columns.map(({ key: name, kind }) =>
      name === "policy" ? policy(place) : element("td", { class: kind, text: said(kind, row[name]) }));
    const over = row.over_budget_at_chunk === null || row.over_budget_at_chunk === undefined ? "" : "over";
    const tr = element("tr", { class: over, "data-row": place }, ...cells);
    check(tr, place);
    tr.addEventListener("click", (event) => { if (!event.target.closest("label, button")) choose(place); });
    return tr;
  }

  function draw() {
    const order = rows.map((_, place) => place);
    if (key !== null) order.sort(before);
    table.tHead.replaceChildren(element("tr", {}, ...columns.map(head)));
    table.tBodies[0].replaceChildren(...order.map(line));
  }

  // Another row is chosen: the same order, the focus stays where it was.
  function mark() {
    for (const tr of table.tBodies[0].rows) check(tr, +tr.dataset.row);
  }

  draw();
  return mark;
}
