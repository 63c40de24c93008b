// Slider, buttons, keys and the address: where the page stands, and how it gets elsewhere.
function makePlayer(numSteps, at, go, missesAt) {
  const slider = byId("step"), play = byId("play"), told = byId("told");
  const pace = matchMedia("(prefers-reduced-motion: reduce)").matches ? 800 : 140;
  let timer = null;
  slider.max = numSteps - 1;
  slider.addEventListener("input", () => go(+slider.value));

  function stop() {
    clearInterval(timer);
    timer = null;
    told.setAttribute("aria-live", "polite");
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  }

  function toggle() {
    if (timer !== null) return stop();
    if (at() === numSteps - 1) go(0);
    told.setAttribute("aria-live", "off"); // a reader would not keep up
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => (at() < numSteps - 1 ? go(at() + 1) : stop()), pace);
  }

  function seek(way) {
    for (let far = 1; far <= numSteps; far++) {
      const step = (at() + way * far + numSteps) % numSteps; // far <= numSteps
      if (missesAt(step)) return go(step);
    }
    told.textContent = "This policy misses nothing that is measured.";
  }

  const near = byId("near");
  play.addEventListener("click", toggle);
  byId("miss").addEventListener("click", () => seek(1));
  byId("lastmiss").addEventListener("click", () => seek(-1));
  near.addEventListener("change", () => go(at()));
  const keys = { ArrowLeft: () => go(at() - 1), ArrowRight: () => go(at() + 1), Home: () => go(0), End: () => go(numSteps - 1), n: () => seek(1), p: () => seek(-1), " ": toggle };
  document.addEventListener("keydown", (event) => {
    const isTyped = event.target.closest("input, button, summary, [role=region]") || event.ctrlKey || event.altKey || event.metaKey;
    if (isTyped || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });

  return (step) => {
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${numSteps - 1}`);
    byId("now").textContent = `${step} of ${numSteps - 1}`;
  };
}

const readAddress = () => new URLSearchParams(location.hash.slice(1));
function writeAddress(values) {
  history.replaceState(null, "", `#${new URLSearchParams(values)}`);
}
