// Elements of the page. Text from data goes through textContent only, never through markup.
const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function add(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const element = (name, attributes = {}, ...children) => add(document.createElement(name), attributes, children);
const drawn = (name, attributes = {}, ...children) => add(document.createElementNS(SVG, name), attributes, children);

const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 4", "1 4", "12 4"];

// Give a line or mark the colour of a row; the darkest one follows the page's ink.
function coloured(node, row) {
  if (HEAD.colours[row] === "#222222") node.classList.add("ink");
  node.style.setProperty("--c", HEAD.colours[row]);
  return node;
}

function swatch(row) {
  const box = drawn("svg", { class: "swatch", viewBox: "0 0 28 10", "aria-hidden": "true" });
  const line = drawn("line", { class: "line chosen", x1: 0, x2: 28, y1: 5, y2: 5, "stroke-dasharray": DASHES[row % DASHES.length] });
  box.append(coloured(line, row));
  return box;
}

function legend() {
  byId("legend").replaceChildren(...HEAD.names.map((name, row) => element("li", {}, swatch(row), name)));
}
