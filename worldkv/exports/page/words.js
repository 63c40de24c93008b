// One step in sentences, numbers and a list of chunks: all that the pictures show.
const count = (runs) => { let sum = 0; for (let i = 1; i < runs.length; i += 2) sum += runs[i]; return sum; };
const plural = (number, word) => `${fixed(number, 0)} ${word}${number === 1 ? "" : "s"}`;

function sentences(step, row, steps, value) {
  const fetched = steps.retrieved(step), window = count(steps.runs.recent(step)) + count(steps.runs.other(step));
  let bank = 0;
  for (let c = 0; c < step; c++) bank += steps.isBanked(c, step);
  const parts = [`Step ${step} under ${HEAD.names[row]}: it attends ${said("count", value("tokens"))} tokens, of ${count(steps.runs.sink(step))} sink, `
    + `${window} window and ${fetched.length} retrieved chunks${fetched.length ? ` (${fetched.join(", ")})` : ""} and its own; ${plural(bank, "chunk")} lie in the bank.`];
  if (HEAD.has_landmarks) parts.push(missed(step, steps, value));
  const moved = HEAD.series.filter((one) => one.key.startsWith("moved_") && value(one.key) > 0).map((one) => `${one.name.replace("Moved ", "")} ${said("bytes", value(one.key))}`);
  parts.push(moved.length ? `Moved: ${moved.join(", ")}.` : "Nothing moves.");
  const measured = value("measured_step");
  parts.push(`Predicted ${said("ms", value("predicted"))}${measured === undefined ? "" : `, measured ${said("ms", measured)}`}.`);
  return parts.join(" ");
}

function missed(step, steps, value) {
  const counted = value("counted"), lost = steps.missed(step).length, [best] = steps.would(step);
  if (!counted) return "Nothing in view is known from memory alone.";
  if (!lost) return `All ${plural(counted, "landmark")} that only memory can know are held.`;
  const cure = best ? `chunk ${best.chunk}, in the bank, would have shown ${best.shows} of them.` : "nothing in the bank shows them: they are gone.";
  return `Of ${plural(counted, "landmark")} that only memory can know it missed ${lost}; ${cure}`;
}

function showNumbers(step, chosen, series) {
  const heads = HEAD.names.map((name, row) => element("th", { scope: "col", text: name, class: row === chosen ? "chosen" : "" }));
  byId("numbers").tHead.replaceChildren(element("tr", {}, element("td"), ...heads));
  byId("numbers").tBodies[0].replaceChildren(...series.map(({ name, kind, rows }) =>
    element("tr", {}, element("th", { scope: "row", text: name }), ...rows.map((row) => element("td", { text: said(kind, row[step]) })))));
}

function showChunks(step, steps) {
  const found = [];
  for (const role of ["sink", "recent", "other"]) for (const chunk of expand(steps.runs[role](step))) found.push([chunk, ROLES[role].say]);
  steps.retrieved(step).forEach((chunk, place) => found.push([chunk, `${ROLES.retrieved.say}, as number ${place + 1}`]));
  for (const { chunk, shows } of steps.would(step)) found.push([chunk, `in the bank, not attended; it would have shown ${plural(shows, "missed landmark")}`]);
  const most = 500, lines = found.slice(0, most).map(([chunk, why]) => {
    const kept = steps.isBanked(chunk, step) ? `${fixed(100 * steps.kept[chunk], 0)} %` : "–";
    return element("tr", {}, ...[chunk, why, step - chunk, kept].map((text) => element("td", { text })));
  });
  if (found.length > most) lines.push(element("tr", {}, element("td", { colspan: 4, class: "text", text: `and ${fixed(found.length - most, 0)} more` })));
  byId("chunks").tBodies[0].replaceChildren(...lines);
}
