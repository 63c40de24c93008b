// What the file holds: HEAD is JSON, the numbers are typed arrays in one deflated piece.
const HEAD = JSON.parse(byId("head").textContent);
const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array };
let content = null;

async function unpack() {
  const text = atob(byId("packed").textContent);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  content = await new Response(stream).arrayBuffer();
}

function column(name) {
  const [kind, first, length] = HEAD.packed[name];
  return new ARRAYS[kind](content, first, length);
}

// Lists of numbers, one a step, as Packed.add_lists writes them.
function lists(name) {
  const values = column(name), ends = column(`${name}.ends`);
  return (step) => values.subarray(step ? ends[step - 1] : 0, ends[step]);
}
