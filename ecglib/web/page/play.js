// The page's controls: what is asked for, the walk from noise shown step by step, and the result to take home.
(function () {
  const find = (name) => document.getElementById(`play-${name}`);
  const SLIDERS = { age: "years", heart_rate: "/min", steps: "", guidance: "" };
  let generator, sheet, drawing = 0, result = null; // drawing: the number of the newest request; older ones give up

  function say(words, wrong = false) {
    find("status").textContent = words;
    find("status").classList.toggle("play-wrong", wrong);
  }

  // ---- start: unpack, make the controls, draw the first ECG

  async function start() {
    if (Ecglib.missing) return say(`${Ecglib.missing} Everything else in the book works without this page.`, true);
    if (!Ecglib.parts || !Ecglib.wasm) return say("A part of this page is missing: run `make book` again.", true);
    if (typeof WebAssembly === "undefined" || typeof DecompressionStream === "undefined") {
      return say("This browser is too old for this page: it lacks WebAssembly or DecompressionStream. " +
        "Any browser of 2023 or later has both.", true);
    }
    say("Unpacking the generator …");
    ort.env.wasm.numThreads = 1; // several would need headers that a page from a disk does not have
    ort.env.wasm.wasmBinary = await Ecglib.unpack(Ecglib.wasm);
    generator = await Ecglib.Generator.open(Ecglib.parts);
    sheet = new Ecglib.Sheet(find("sheet"), generator.about.fs, generator.about.signal.nTimes);
    makeControls(generator.about);
    find("form").hidden = find("result").hidden = false;
    await draw();
  }

  function makeControls({ statements, sampling, signal, asks, facts }) {
    for (const group of ["rhythm", "diagnosis", "form"]) {
      const offered = statements.filter((one) => one.group === group);
      if (!offered.length) continue;
      const box = document.createElement("div");
      box.className = "play-group";
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", group);
      box.append(Object.assign(document.createElement("b"), { textContent: group }));
      for (const { code, description, count, first } of offered) {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "checkbox", value: code, checked: first });
        label.append(input, `${code}: ${description} (${count})`);
        box.append(label);
      }
      find("statements").append(box);
    }
    for (const [key, { name }] of Object.entries(Ecglib.SAMPLERS)) find("sampler").append(new Option(name, key));
    find("sampler").value = sampling.sampler;
    find("steps").max = Math.min(signal.alphaBar.length, Math.max(50, sampling.steps));
    find("steps").value = sampling.steps;
    find("guidance").value = sampling.guidance;
    for (const name of ["age", "heart_rate", "sex"]) { // what this network cannot be asked for
      if (!asks.includes(name)) find(name).closest(".play-slider, [role=radiogroup]").hidden = true;
    }
    find("about").textContent = facts;
    const typed = (event) => event.target === find("seed"); // drawn while it is typed; a slider, once it is let go
    find("form").addEventListener("input", (event) => { showValues(); if (typed(event)) draw(); });
    find("form").addEventListener("change", (event) => { if (!typed(event)) draw(); });
    find("form").addEventListener("submit", (event) => event.preventDefault());
    find("next").addEventListener("click", () => { find("seed").value = (Number(find("seed").value) + 1) % 2 ** 32; draw(); });
    find("frame").addEventListener("input", () => showFrame(Number(find("frame").value)));
    for (const radio of radios("what")) radio.addEventListener("change", () => showFrame(Number(find("frame").value)));
    find("csv").addEventListener("click", () => save("csv", "text/csv", csv(result)));
    find("svg").addEventListener("click", () => save("svg", "image/svg+xml", new XMLSerializer().serializeToString(find("sheet"))));
    showValues();
  }

  const radios = (name) => [...document.querySelectorAll(`#play input[name="${name}"]`)];
  const chosen = (name) => radios(name).find((radio) => radio.checked).value;

  function showValues() {
    for (const [name, unit] of Object.entries(SLIDERS)) {
      const off = find(`${name}-off`)?.checked ?? false;
      find(name).disabled = off;
      find(`${name}-value`).textContent = off ? "" : `${find(name).value} ${name === "guidance" && find(name).value === "1" ? "(none)" : unit}`;
    }
  }

  // ---- what is asked for

  function asked() {
    const told = (name) => generator.about.asks.includes(name);
    const number = (name) => (told(name) && !find(`${name}-off`).checked ? Number(find(name).value) : null);
    const sex = chosen("sex");
    return {
      scp_codes: [...document.querySelectorAll("#play-statements input:checked")].map((box) => box.value),
      age: number("age"), heart_rate: number("heart_rate"), sex: told("sex") && sex !== "" ? Number(sex) : null,
    };
  }

  function describe({ scp_codes, age, sex, heart_rate }) {
    const parts = [[...scp_codes].sort().join(" ") || "no statement", sex === null ? null : sex ? "woman" : "man",
      age === null ? null : `${age} years`, heart_rate === null ? null : `${heart_rate}/min asked for`];
    return parts.filter((part) => part !== null).join(", ");
  }

  // Say where the training records thin out. Few records are not counted out: they may be somebody's.
  function describeCombination(codes) {
    const { combinations, fewest, cohort } = generator.about;
    const count = combinations[[...codes].sort().join(" ")];
    find("combination").textContent = codes.length === 0 ? "No statement: the network is told nothing about the heart."
      : count ? `${count} training records (${cohort}) have exactly these statements.`
        : `Fewer than ${fewest} training records (${cohort}) have exactly these statements: the network extrapolates.`;
  }

  // ---- draw

  async function draw() {
    if (!find("seed").checkValidity()) return say("The seed is to be a whole number from 0 to 4294967295.", true);
    const mine = ++drawing;
    const request = asked();
    const how = { sampler: find("sampler").value, steps: Number(find("steps").value), spacing: generator.about.sampling.spacing,
      guidance: Number(find("guidance").value), seed: Number(find("seed").value) };
    describeCombination(request.scp_codes);
    result = null; // the last one no longer answers what is asked for
    busy(true);
    const frames = [], still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const started = performance.now();
    generator.signal.evaluations = generator.signal.milliseconds = 0;
    if (mine === 1) say("Drawing the first ECG …");
    try {
      const { x, beats } = await generator.sample(request, how, async (i, x_t, x0Hat) => {
        if (mine !== drawing) throw new Ecglib.Superseded();
        frames.push({ x_t, x0Hat });
        if (still) return;
        sheet.draw(chosen("what") === "x_t" ? x_t : x0Hat);
        sheet.say(describe(request), `step ${i + 1} of ${how.steps}: ${i ? "noise is being taken away" : "pure noise"}`);
        await nextFrame();
      });
      if (mine !== drawing) return;
      if (!x.every((lead) => lead.every(Number.isFinite))) throw new Error("the signal is not finite; try less guidance");
      result = { x, beats, frames, request, how };
      showResult(performance.now() - started);
    } catch (error) {
      if (error instanceof Ecglib.Superseded) return; // a newer request is being drawn
      say(`Drawing failed: ${error.message}`, true);
      console.error(error);
    }
    busy(false);
  }

  // While an ECG is being drawn, or after drawing failed, there is nothing whole to take home.
  function busy(is) {
    find("result").setAttribute("aria-busy", is);
    find("csv").disabled = find("svg").disabled = is || !result;
  }

  Ecglib.Superseded = class extends Error {};

  // Let the browser paint; a hidden page paints nothing and is not waited for.
  const nextFrame = () => new Promise((done) => (document.hidden ? setTimeout(done) : requestAnimationFrame(done)));

  function showResult(milliseconds) {
    const { evaluations, milliseconds: spent } = generator.signal, { steps, seed } = result.how;
    find("frame").max = steps + 1;
    find("frame").value = steps + 1;
    showFrame(steps + 1);
    const beats = (result.beats ?? []).filter((beat) => beat >= 0 && beat < generator.about.signal.nTimes / generator.about.fs);
    find("beats").textContent = beats.length < 2 ? "" : `${beats.length} beats were drawn first: ` +
      `${Math.round((60 * (beats.length - 1)) / (beats.at(-1) - beats[0]))}/min on average`;
    say(`Drawn in ${(milliseconds / 1000).toFixed(1)} s: ${evaluations} evaluations of ${(spent / evaluations).toFixed(0)} ms, seed ${seed}.`);
  }

  // Show step 1 … steps of the walk, or the result, which comes after them.
  function showFrame(k) {
    if (!result) return;
    const { frames, how, request, x } = result, last = k > how.steps;
    find("frame-value").textContent = last ? "the result" : `${k} of ${how.steps}`;
    find("frame").setAttribute("aria-valuetext", find("frame-value").textContent);
    sheet.draw(last ? x : frames[k - 1][chosen("what")]);
    sheet.say(`Synthetic: ${describe(request)}`, last ? `synthetic, seed ${how.seed}; not for clinical use` : `step ${k} of ${how.steps}`);
  }

  // ---- take home

  function csv({ x, request, how }) {
    const { fs, cohort, preset, trainSeed } = generator.about;
    const made = `# synthetic ECG, not for clinical use; mV; asked for: ${describe(request)}; generator: ${cohort} ${preset} ` +
      `seed ${trainSeed}; ${how.sampler}, ${how.steps} steps, guidance ${how.guidance}, seed ${how.seed}`;
    const rows = Array.from(x[0], (_, n) => [(n / fs).toFixed(4), ...x.map((lead) => lead[n].toFixed(6))].join(","));
    return [made, ["time_s", ...Ecglib.LEADS].join(","), ...rows, ""].join("\n");
  }

  function save(suffix, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = `synthetic_ecg_seed${result.how.seed}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  start().catch((error) => {
    say(`The generator did not start: ${error.message}`, true);
    console.error(error);
  });
})();
