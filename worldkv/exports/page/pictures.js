// Pictures of a world: the view of a step as it was and as every policy shows it, at the first visit and now.
async function makePictures(psnr) {
  const { rows: tall, columns: wide, across } = HEAD.pictures, visits = column("pictures.visits");
  const names = ["as it was", ...HEAD.names];
  const load = (name) => createImageBitmap(new Blob([column(name)], { type: "image/png" }));
  const sheets = await Promise.all(names.map((_, place) => Promise.all(["first", "now"].map((when) => load(`pictures.${place ? `row${place - 1}` : "truth"}.${when}`)))));
  byId("pictures").hidden = false;
  const table = byId("films"), canvases = [[], []];
  table.tHead.replaceChildren(element("tr", {}, element("td"), ...names.map((name) => element("th", { scope: "col", text: name }))));
  const lines = ["first visit", "this step"].map((when, line) => {
    const cells = names.map(() => {
      const canvas = element("canvas", { width: wide, height: tall, role: "img" }), text = element("span", { class: "soft" });
      canvases[line].push({ canvas, text });
      return element("td", {}, canvas, text);
    });
    return element("tr", {}, element("th", { scope: "row", text: when }), ...cells);
  });
  table.tBodies[0].replaceChildren(...lines);

  function words(line, place, step) {
    if (line === 0 && visits[step] === 0) return "none: new here";
    if (line === 0) return place ? "" : `chunk ${Math.floor((visits[step] - 1) / HEAD.path.frames_per_chunk)}`;
    return place ? said("decibels", psnr[place - 1][step]) : `chunk ${step}`;
  }

  return (step, chosen) => canvases.forEach((line, when) => line.forEach(({ canvas, text }, place) => {
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, wide, tall);
    if (when || visits[step]) pen.drawImage(sheets[place][when], step % across * wide, Math.floor(step / across) * tall, wide, tall, 0, 0, wide, tall);
    text.textContent = words(when, place, step);
    canvas.setAttribute("aria-label", `${names[place]}, ${when ? "this step" : "first visit"}: ${text.textContent || "a picture"}`);
    canvas.parentNode.classList.toggle("chosen", place - 1 === chosen);
  }));
}
