// What a chunk or landmark is at a step: a colour, a shape and words, so that none is told by colour alone.
const ROLES = {
  sink: { say: "sink", colour: "#56b4e9", shape: "M-5-5H5V5H-5Z" },
  recent: { say: "recent window", colour: "#009e73", shape: "M5 0A5 5 0 1 1-5 0A5 5 0 1 1 5 0Z" },
  other: { say: "still in the window", colour: "#8a8a8a", shape: "M0-5L5 4H-5Z" },
  retrieved: { say: "retrieved from the bank", colour: "#0072b2", shape: "M0-7L7 0L0 7L-7 0Z" },
  would: { say: "in the bank, not attended, would have shown what was missed", colour: "#cc79a7", shape: "M0-8L7 6H-7Z", open: true },
  missed: { say: "landmark that was missed", colour: "#d55e00", shape: "M-3-3L3 3M-3 3L3-3", open: true },
};

function mark(role, x, y, scale = 1, title = "") {
  const { colour, shape, open } = ROLES[role];
  const style = open ? { fill: "none", stroke: colour, "stroke-width": 2 } : { fill: colour, stroke: "var(--bg)", "stroke-width": 1 };
  const path = drawn("path", { d: shape, transform: `translate(${x.toFixed(2)},${y.toFixed(2)}) scale(${scale})`, ...style });
  if (title) path.append(drawn("title", { text: title }));
  return path;
}
