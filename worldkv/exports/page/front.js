// Recall against a cost: every policy's mean over the seeds at each budget, and the front of those that compete.
const PANEL = { wide: 600, tall: 330, left: 50, foot: 36, top: 10 };

function spots(rows, cost, measure) {
  const byBudget = new Map();
  for (const row of rows) {
    if (row[measure] === null || row[measure] === undefined || row[cost] === null) continue;
    if (!byBudget.has(row.budget)) byBudget.set(row.budget, []);
    byBudget.get(row.budget).push(row);
  }
  const mean = (all) => all.reduce((sum, value) => sum + value, 0) / all.length;
  return Array.from(byBudget.values(), (all) => {
    const xs = all.map((row) => row[cost]), ys = all.map((row) => row[measure]);
    return { x: mean(xs), y: mean(ys), least: Math.min(...ys), most: Math.max(...ys), budget: all[0].budget };
  }).sort((a, b) => a.x - b.x);
}

function panel(rows, cost, measure, kind, title) {
  const { wide, tall, left, foot, top } = PANEL, floor = tall - foot;
  const all = HEAD.names.map((name) => spots(rows.filter((row) => row.policy === name), cost, measure));
  const costs = all.flat().map((spot) => spot.x).filter((value) => value > 0);
  if (!costs.length) return { figure: element("figure"), show: () => {} };
  const low = Math.min(...costs), high = Math.max(...costs, low * 1.01);
  const zero = left + 16, first = all.flat().some((spot) => spot.x === 0) ? zero + 60 : zero; // a logarithm has no zero: it stands apart
  const x = (value) => (value > 0 ? first + (wide - first - 16) * Math.log(value / low) / Math.log(high / low) : zero), y = (value) => floor - (floor - top) * value;
  const svg = drawn("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(drawn("line", { class: "axis", x1: left, x2: wide, y1: y(share), y2: y(share) }), drawn("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end", text: fixed(share, 2) }));
  }
  svg.append(drawn("text", { x: first, y: tall - 18, text: said(kind, low) }), drawn("text", { x: wide, y: tall - 18, "text-anchor": "end", text: said(kind, high) }),
    drawn("text", { x: (left + wide) / 2, y: tall - 4, "text-anchor": "middle", text: `${title} (logarithmic)` }));
  if (first > zero) svg.append(drawn("text", { x: zero, y: tall - 18, text: "0" }));
  const rivals = all.flatMap((own, place) => (HEAD.references.includes(HEAD.names[place]) ? [] : own)).sort((a, b) => a.x - b.x || b.y - a.y);
  const best = [];
  for (const spot of rivals) if (!best.length || spot.y > best[best.length - 1].y) best.push(spot);
  const along = (points) => points.map((spot, i) => `${i ? "L" : "M"}${x(spot.x).toFixed(1)} ${y(spot.y).toFixed(1)}`).join("");
  svg.append(drawn("path", { class: "line front", d: along(best) }));
  const lines = all.map((own, place) => {
    const line = coloured(drawn("path", { class: "line", d: along(own), "stroke-dasharray": DASHES[place % DASHES.length] }), place);
    svg.append(line);
    for (const spot of own) {
      const name = `${HEAD.names[place]} at ${spot.budget}: ${fixed(spot.y, 2)} (${fixed(spot.least, 2)} to ${fixed(spot.most, 2)}), ${said(kind, spot.x)}`;
      svg.append(coloured(drawn("line", { class: "line", x1: x(spot.x), x2: x(spot.x), y1: y(spot.least), y2: y(spot.most) }), place),
        coloured(drawn("circle", { class: "spot", cx: x(spot.x), cy: y(spot.y), r: 4.5 }, drawn("title", { text: name })), place));
    }
    return line;
  });
  const told = all.map((own, place) => `${HEAD.names[place]} ${own.map((spot) => `${fixed(spot.y, 2)} at ${said(kind, spot.x)}`).join(", ") || "none"}`);
  svg.setAttribute("aria-label", `${title}: ${told.join("; ")}`);
  return { figure: element("figure", {}, svg), show: (chosen) => lines.forEach((line, place) => line.classList.toggle("chosen", place === chosen)) };
}
