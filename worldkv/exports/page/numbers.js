// Numbers as people read them, by kind; "–" where there is none.
const fixed = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function bytes(value) {
  for (const [unit, scale] of [["TiB", 2 ** 40], ["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (value >= scale) return `${fixed(value / scale, value / scale < 100 ? 1 : 0)} ${unit}`;
  }
  return `${fixed(value, 0)} B`;
}

const KINDS = {
  text: (value) => String(value),
  count: (value) => fixed(value, 0),
  bytes,
  share: (value) => fixed(value, 2),
  credit: (value) => fixed(value, 1),
  rate: (value) => fixed(value, value < 100 ? 1 : 0),
  times: (value) => `${fixed(value, 2)}×`,
  ms: (value) => `${fixed(value, value < 10 ? 2 : value < 1000 ? 1 : 0)} ms`,
  decibels: (value) => `${fixed(value, 1)} dB`,
};

const said = (kind, value) => (value === null || value === undefined || Number.isNaN(value) ? "–" : KINDS[kind](value));
