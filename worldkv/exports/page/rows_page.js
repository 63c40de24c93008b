// The page of rows along one trajectory.
async function start() {
  await unpack();
  const numRows = HEAD.names.length, numSteps = HEAD.packed["row0.banked_at"][2];
  const series = HEAD.series.map((one) => ({ ...one, rows: rowsOf(`series.${one.key}`, numRows, numSteps) }));
  const byKey = Object.fromEntries(series.map((one) => [one.key, one]));
  const read = HEAD.names.map(() => null), steps = (row) => (read[row] ??= stepsOf(row));
  let row = HEAD.start.row, step = HEAD.start.step;

  function fromAddress() {
    const address = readAddress(), named = HEAD.names.indexOf(address.get("policy")), number = Number(address.get("step"));
    if (named >= 0) row = named;
    if (address.has("step") && Number.isInteger(number)) step = Math.min(numSteps - 1, Math.max(0, number));
  }

  const value = (key) => byKey[key]?.rows[row][step];
  const rowOf = (place) => place;
  const choose = (place) => { row = place; markTable(); matrix.draw(steps(row)); show(); };
  const go = (where) => { step = Math.min(numSteps - 1, Math.max(0, where)); show(); };
  fromAddress();
  introduce();
  const markTable = sortable(byId("rows"), HEAD.columns, HEAD.document.rows, (place) => place === row, choose, rowOf);
  const map = makeMap(numSteps), matrix = makeMatrix(numSteps, go), curves = makeCurves(series, numSteps, go);
  const pictures = HEAD.pictures ? await makePictures(byKey.psnr_visit.rows) : () => {};
  const player = makePlayer(numSteps, () => step, go, (where) => steps(row).missed(where).length > 0);
  for (const id of ["miss", "lastmiss"]) byId(id).hidden = !HEAD.has_landmarks;

  function show() {
    byId("told").textContent = sentences(step, row, steps(row), value);
    player(step);
    map(step, steps(row));
    matrix.show(step);
    curves(step, row);
    pictures(step, row);
    for (const [id, fill] of [["numbers", () => showNumbers(step, row, series)], ["chunks", () => showChunks(step, steps(row))]]) {
      if (byId(id).closest("details").open) fill();
    }
    writeAddress({ policy: HEAD.names[row], step });
  }

  for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", show);
  addEventListener("beforeprint", () => { for (const details of document.querySelectorAll("details")) details.open = true; show(); });
  addEventListener("hashchange", () => { fromAddress(); choose(row); });
  choose(row);
}

function introduce() {
  const { trajectory, geometry, machine, notes } = HEAD.document;
  byId("title").textContent = document.title;
  byId("setting").textContent = `${fixed(trajectory.frames, 0)} video frames in ${fixed(trajectory.chunks, 0)} chunks, ${fixed(100 * trajectory.revisit_share, 0)} % of them come back; `
    + `${geometry.name}: ${fixed(geometry.chunk_tokens, 0)} tokens and ${bytes(geometry.chunk_bytes)} a chunk; times predicted for ${machine}`;
  byId("notes").replaceChildren(...notes.map((text) => element("li", { text })));
  legend();
  showVerdict();
}

const opened = performance.now();
start().then(
  () => { document.documentElement.dataset.ready = (performance.now() - opened).toFixed(0); },
  (error) => { byId("trouble").hidden = false; byId("trouble").textContent = `This page needs a browser of 2023 or newer (${error.message}).`; throw error; },
);
