// Steps by chunks: what each step attends, why, and what lay in the bank.
const SIDE = 600;

function makeMatrix(numSteps, go) {
  const box = byId("matrix"), [canvas, cursor] = box.children, pen = canvas.getContext("2d");
  const each = SIDE / numSteps, dot = Math.max(1, each);
  const scrub = (event) => {
    const { left, width } = box.getBoundingClientRect();
    go(Math.floor((event.clientX - left) / width * numSteps));
  };
  box.addEventListener("pointerdown", scrub);
  box.addEventListener("pointermove", (event) => { if (event.buttons) scrub(event); });

  function fill(step, first, length, least) {
    pen.fillRect(step * each, SIDE - (first + length) * each, dot, Math.max(least, length * each));
  }

  function draw(steps) {
    pen.clearRect(0, 0, SIDE, SIDE);
    pen.fillStyle = "rgba(128,128,128,.18)";
    for (let c = 0; c < numSteps; c++) { // a banked chunk is a stripe from the step behind its eviction to its end
      const from = steps.bankedAt[c] + 1, to = Math.min(steps.goneAt[c], numSteps - 1);
      if (from <= to) pen.fillRect(from * each, SIDE - (c + 1) * each, (to - from + 1) * each, Math.max(each, 0.6));
    }
    for (const role of ["other", "recent", "sink"]) {
      pen.fillStyle = ROLES[role].colour;
      for (let step = 0; step < numSteps; step++) {
        const runs = steps.runs[role](step);
        for (let i = 0; i < runs.length; i += 2) fill(step, runs[i], runs[i + 1], role === "sink" ? 2 : dot);
      }
    }
    for (let step = 0; step < numSteps; step++) {
      pen.fillStyle = ROLES.retrieved.colour;
      for (const chunk of steps.retrieved(step)) fill(step, chunk, 1, 2);
      const [best] = steps.would(step);
      pen.fillStyle = ROLES.would.colour;
      if (best) fill(step, best.chunk, 1, 2);
    }
  }

  return { draw, show: (step) => { cursor.style.left = `${(step + 0.5) / numSteps * 100}%`; } };
}
