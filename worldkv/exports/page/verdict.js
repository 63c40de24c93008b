// The verdict of a promotion, above everything else.
function showVerdict() {
  if (!HEAD.verdict) return;
  const { verdict, reasons, remarks, stages } = HEAD.verdict;
  const items = (texts) => texts.map((text) => element("li", { text }));
  byId("verdict").hidden = false;
  byId("verdicthead").textContent = `Verdict: ${verdict}`;
  byId("reasons").replaceChildren(...items([...reasons, ...remarks.map((text) => `remark: ${text}`)]));
  byId("stages").replaceChildren(...items(stages.map(({ stage, status, message }) => `${stage}: ${status}${message ? `, ${message}` : ""}`)));
}
