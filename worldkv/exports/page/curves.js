// Curves along the path, one a number, with the step marked in all of them.
const NARROW = matchMedia("(max-width: 860px)").matches; // drawn smaller, so that letters stay as large
const CURVE = { wide: NARROW ? 400 : 600, tall: 160, left: 62, foot: 20, top: 8 };

function makeCurves(series, numSteps, go) {
  const shown = series.filter((one) => one.drawn && one.rows.some((row) => row.some((value) => !Number.isNaN(value))));
  const all = shown.map((one) => makeCurve(one, numSteps, go));
  byId("curves").replaceChildren(...all.map((one) => one.figure));
  return (step, row) => all.forEach((one) => one.show(step, row));
}

function makeCurve({ name, kind, log, rows }, numSteps, go) {
  const { wide, tall, left, foot, top } = CURVE, floor = tall - foot;
  let [low, high] = [Infinity, -Infinity];
  for (const row of rows) for (const value of row) if (!Number.isNaN(value) && (!log || value > 0)) { low = Math.min(low, value); high = Math.max(high, value); }
  if (!log) low = Math.min(0, low);
  if (high <= low) high = low + (log ? low || 1 : 1);
  const share = (value) => (log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low));
  const x = (step) => left + (wide - left - 6) * step / (numSteps - 1 || 1), y = (value) => floor - (floor - top) * share(value);
  const svg = drawn("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img" });
  const middle = log ? Math.sqrt(low * high) : (low + high) / 2;
  for (const value of [low, middle, high]) {
    svg.append(drawn("line", { class: "axis", x1: left, x2: wide, y1: y(value), y2: y(value) }),
      drawn("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end", text: said(kind, value) }));
  }
  svg.append(drawn("text", { x: left, y: tall - 5, text: "0" }), drawn("text", { x: wide, y: tall - 5, "text-anchor": "end", text: `step ${numSteps - 1}` }));
  const lines = rows.map((row, place) => {
    const line = coloured(drawn("path", { class: "line", d: outline(row, x, y), "stroke-dasharray": DASHES[place % DASHES.length] }), place);
    svg.append(line);
    return line;
  });
  const cursor = drawn("line", { class: "now", y1: top - 4, y2: floor }), value = element("span", { class: "soft" });
  svg.append(cursor);
  const scrub = (event) => {
    const box = svg.getBoundingClientRect();
    go(Math.round(((event.clientX - box.left) / box.width * wide - left) / (wide - left - 6) * (numSteps - 1)));
  };
  svg.addEventListener("pointerdown", scrub);
  svg.addEventListener("pointermove", (event) => { if (event.buttons) scrub(event); });
  svg.setAttribute("aria-label", `${name}${log ? ", logarithmic" : ""}: ` + rows.map((row, place) => summary(row, place, kind)).join("; "));

  function show(step, chosen) {
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    value.textContent = ` ${said(kind, rows[chosen][step])}`;
    lines.forEach((line, place) => line.classList.toggle("chosen", place === chosen));
  }
  return { figure: element("figure", {}, element("figcaption", {}, element("b", { text: name }), value), svg), show };
}

// A path through a row's values; of more than 1,200 steps the least and greatest of each piece, so that no peak is lost.
function outline(row, x, y) {
  const each = Math.max(1, Math.ceil(row.length / 600)), pieces = [];
  let pen = "M";
  for (let start = 0; start < row.length; start += each) {
    let [least, most] = [start, start];
    for (let i = start; i < Math.min(start + each, row.length); i++) {
      if (!(row[i] >= row[least])) least = i;
      if (!(row[i] <= row[most])) most = i;
    }
    for (const i of each === 1 ? [start] : [Math.min(least, most), Math.max(least, most)]) {
      if (Number.isNaN(row[i])) pen = pieces.length && each === 1 ? "M" : pen;
      else { pieces.push(`${pen}${x(i).toFixed(1)} ${y(row[i]).toFixed(1)}`); pen = "L"; }
    }
  }
  return pieces.join("");
}

function summary(row, place, kind) {
  const values = Array.from(row).filter((value) => !Number.isNaN(value));
  if (!values.length) return `${HEAD.names[place]}: none`;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
  return `${HEAD.names[place]} from ${said(kind, values[0])} to ${said(kind, values[values.length - 1])}, at least ${said(kind, low)}, at most ${said(kind, high)}`;
}
