// Every row's steps, read from the packed columns.
const expand = (runs) => {
  const ids = [];
  for (let i = 0; i < runs.length; i += 2) for (let id = runs[i]; id < runs[i] + runs[i + 1]; id++) ids.push(id);
  return ids;
};

function stepsOf(row) {
  const read = (name) => lists(`row${row}.${name}`);
  const [sink, recent, other, retrieved, would, missed] = ["sink", "recent", "other", "retrieved", "would", "missed"].map(read);
  const bankedAt = column(`row${row}.banked_at`), goneAt = column(`row${row}.gone_at`);
  return {
    runs: { sink, recent, other },
    retrieved: (step) => Array.from(retrieved(step)),
    missed,
    would: (step) => {
      const pairs = would(step), found = [];
      for (let i = 0; i < pairs.length; i += 2) found.push({ chunk: pairs[i], shows: pairs[i + 1] });
      return found;
    },
    isBanked: (chunk, step) => bankedAt[chunk] < step && goneAt[chunk] >= step,
    bankedAt,
    goneAt,
    kept: column(`row${row}.kept`),
  };
}

const rowsOf = (name, count, steps) => {
  const whole = column(name);
  return Array.from({ length: count }, (_, row) => whole.subarray(row * steps, (row + 1) * steps));
};
