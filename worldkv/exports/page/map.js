// The path from above at one step: the camera and its view, what is attended, the bank, and what was missed.
const WIDE = 700, TALL = 520, EDGE = 20;

function makeMap(numSteps) {
  const { path } = HEAD, xy = column("path.xy"), centres = column("path.centres"), headings = column("path.headings");
  const walls = path.has_walls ? column("path.walls") : new Float32Array(0);
  const marks = HEAD.has_landmarks ? column("landmarks") : new Float32Array(0);
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (const points of [xy, walls]) {
    for (let i = 0; i < points.length; i += 2) {
      left = Math.min(left, points[i]); right = Math.max(right, points[i]);
      low = Math.min(low, points[i + 1]); high = Math.max(high, points[i + 1]);
    }
  }
  const short = Math.max(0, 1.5 * path.view_distance - Math.max(right - left, high - low)) / 2; // a view longer than the path
  left -= short; right += short; low -= short; high += short;
  const scale = Math.min((WIDE - 2 * EDGE) / (right - left || 1), (TALL - 2 * EDGE) / (high - low || 1));
  const x = (value) => WIDE / 2 + (value - (left + right) / 2) * scale;
  const y = (value) => TALL / 2 - (value - (low + high) / 2) * scale;
  const at = (points, i) => [x(points[2 * i]), y(points[2 * i + 1])];
  const line = (points, from, to) => {
    const pieces = [];
    for (let i = from; i < to; i++) pieces.push(at(points, i).map((v) => v.toFixed(1)).join(","));
    return pieces.join(" ");
  };
  const svg = byId("map"), still = drawn("g"), live = drawn("g");
  const done = drawn("polyline", { fill: "none", stroke: "var(--soft)", "stroke-width": 2, "vector-effect": "non-scaling-stroke" });
  const dots = drawn("path", { fill: "none", stroke: "var(--soft)", "stroke-width": 4, "stroke-linecap": "round", "vector-effect": "non-scaling-stroke" });
  const misses = drawn("path", { fill: "none", stroke: ROLES.missed.colour, "stroke-width": 1.6, "vector-effect": "non-scaling-stroke" });
  for (let i = 0; i < walls.length / 2; i += 2) {
    const [[x1, y1], [x2, y2]] = [at(walls, i), at(walls, i + 1)];
    still.append(drawn("line", { x1, y1, x2, y2, stroke: "var(--ink)", "stroke-width": 2, "vector-effect": "non-scaling-stroke" }));
  }
  still.append(drawn("polyline", { points: line(xy, 0, xy.length / 2), fill: "none", stroke: "var(--pale)", "stroke-width": 1.2, "vector-effect": "non-scaling-stroke" }));
  svg.append(still, done, dots, misses, live);
  const frames = Math.round(xy.length / 2 / numSteps);
  const reach = Math.max(18, path.view_distance * scale);
  key(path);

  function cone(step) {
    const [cx, cy] = path.only_turns ? [x(0), y(0)] : at(centres, step);
    const angle = Math.atan2(-headings[2 * step + 1], headings[2 * step]), half = Math.min(path.field_of_view, 179) * Math.PI / 360;
    const [x1, y1, x2, y2] = [angle - half, angle + half].flatMap((a) => [cx + reach * Math.cos(a), cy + reach * Math.sin(a)]);
    return `M${cx} ${cy}L${x1} ${y1}A${reach} ${reach} 0 0 1 ${x2} ${y2}Z`;
  }

  function frameOf(step, steps) {
    if (!byId("near").checked) return [0, 0, WIDE, TALL];
    const xs = [], ys = [];
    for (const [px, py] of [at(centres, step), ...steps.retrieved(step).map((c) => at(centres, c)), ...Array.from(steps.missed(step), (i) => at(marks, i))]) { xs.push(px); ys.push(py); }
    const [a, b, c, d] = [Math.min(...xs) - reach, Math.min(...ys) - reach, Math.max(...xs) + reach, Math.max(...ys) + reach];
    const wide = Math.max(c - a, (d - b) * WIDE / TALL, 60), tall = wide * TALL / WIDE;
    return [(a + c - wide) / 2, (b + d - tall) / 2, wide, tall];
  }

  return function draw(step, steps) {
    const view = frameOf(step, steps), size = view[2] / WIDE, [cx, cy] = at(centres, step), parts = [];
    svg.setAttribute("viewBox", view.join(" "));
    done.setAttribute("points", line(xy, 0, (step + 1) * frames));
    const bank = [];
    for (let c = 0; c < step; c++) if (steps.isBanked(c, step)) bank.push(`M${at(centres, c).map((v) => v.toFixed(1)).join(" ")}h0`);
    dots.setAttribute("d", bank.join(""));
    const arm = 3 * size, crosses = Array.from(steps.missed(step), (i) => {
      const [px, py] = at(marks, i);
      return `M${px - arm} ${py - arm}l${2 * arm} ${2 * arm}m0 ${-2 * arm}l${-2 * arm} ${2 * arm}`;
    });
    misses.setAttribute("d", crosses.join(""));
    parts.push(drawn("path", { d: cone(step), fill: "var(--camera)", opacity: 0.2 }));
    const chunks = { other: expand(steps.runs.other(step)), recent: expand(steps.runs.recent(step)), sink: expand(steps.runs.sink(step)), retrieved: steps.retrieved(step) };
    for (const chunk of chunks.retrieved) {
      const [px, py] = at(centres, chunk);
      parts.push(drawn("line", { x1: cx, y1: cy, x2: px, y2: py, stroke: ROLES.retrieved.colour, opacity: 0.6, "vector-effect": "non-scaling-stroke" }));
    }
    for (const [role, ids] of Object.entries(chunks)) {
      if (ids.length > 150) parts.push(trace(role, ids)); // full KV: a line, not a thousand marks
      else for (const chunk of ids) parts.push(mark(role, ...at(centres, chunk), size, `chunk ${chunk}: ${ROLES[role].say}`));
    }
    for (const { chunk, shows } of steps.would(step)) {
      parts.push(mark("would", ...at(centres, chunk), size, `chunk ${chunk} would have shown ${shows} of what was missed`));
    }
    parts.push(drawn("circle", { cx, cy, r: 6 * size, fill: "var(--camera)", stroke: "var(--bg)", "stroke-width": 1.5 * size }));
    live.replaceChildren(...parts);
  };

  function trace(role, ids) {
    const pieces = ids.map((chunk, i) => (i && ids[i - 1] === chunk - 1 ? "L" : "M") + at(centres, chunk).map((v) => v.toFixed(1)).join(" "));
    return drawn("path", { d: pieces.join(""), fill: "none", stroke: ROLES[role].colour, "stroke-width": 3, opacity: 0.75, "vector-effect": "non-scaling-stroke" });
  }
}

function key(path) {
  const entry = (role) => element("li", {}, drawn("svg", { viewBox: "-9 -9 18 18", "aria-hidden": "true" }, mark(role, 0, 0)), ROLES[role].say);
  const turns = path.only_turns ? "; the camera only turns: chunks are drawn where it looks, farther out the later" : "";
  const shown = HEAD.has_landmarks ? Object.keys(ROLES) : ["sink", "recent", "other", "retrieved"];
  byId("key").replaceChildren(...shown.map(entry), element("li", {
    text: `orange: the camera and what it sees; grey dots: the bank; ${path.axes[0]} to the right, ${path.axes[1]} up${turns}`,
  }));
}
