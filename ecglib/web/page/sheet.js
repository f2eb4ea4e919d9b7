// The twelve-lead sheet on ECG paper, as ecglib/figures/sheet.py draws it: an SVG whose unit is a millimetre.
globalThis.Ecglib ??= {};

Ecglib.Sheet = class {
  static SPEED = 25; // mm/s
  static GAIN = 10; // mm/mV
  static PAGE = [297, 210]; // mm
  static PAPER = [10, 20, 275, 175]; // left, top, width, height of the ruled paper: whole squares of 5 mm
  static TRACE_LEFT = 30; // where time 0 stands; the calibration pulse stands left of it
  static BASELINES = [50, 90, 130, 170]; // of the three rows and the rhythm strip
  static LAYOUT = [["I", "aVR", "V1", "V4"], ["II", "aVL", "V2", "V5"], ["III", "aVF", "V3", "V6"]];
  static RHYTHM = "II";
  static LONGEST = 10; // s

  constructor(svg, fs, nTimes) {
    const { PAGE, PAPER: [left, top, width, height], BASELINES, LAYOUT, RHYTHM, SPEED, GAIN, LONGEST } = Ecglib.Sheet;
    this.svg = svg;
    this.fs = fs;
    this.length = Math.min(nTimes, Math.round(LONGEST * fs));
    svg.setAttribute("viewBox", `0 0 ${PAGE[0]} ${PAGE[1]}`);
    svg.replaceChildren();
    this.name = this.add("title", {});
    this.add("clipPath", { id: "ecg-paper" }).append(this.make("rect", { x: left, y: top, width, height }));
    this.add("rect", { x: 0, y: 0, width: PAGE[0], height: PAGE[1], fill: "#ffffff" });
    this.add("rect", { x: left, y: top, width, height, fill: "#fffdfb" });
    for (const [step, colour, line] of [[1, "#f7dada", 0.12], [5, "#eaa9a9", 0.22]]) {
      let d = "";
      for (let x = 0; x <= width; x += step) d += `M${left + x} ${top}v${height}`;
      for (let y = 0; y <= height; y += step) d += `M${left} ${top + y}h${width}`;
      this.add("path", { d, stroke: colour, "stroke-width": line, fill: "none" });
    }
    this.traces = []; // [path, lead, first sample, last sample, baseline]
    const quarter = this.length / 4;
    LAYOUT.forEach((row, r) => row.forEach((lead, column) =>
      this.trace(lead, Math.round(column * quarter), Math.round((column + 1) * quarter), BASELINES[r])));
    this.trace(RHYTHM, 0, this.length, BASELINES[3]);
    for (const baseline of BASELINES) { // 1 mV for 0.2 s
      this.add("path", { d: `M${left + 5} ${baseline}h2.5v${-GAIN}h${0.2 * SPEED}v${GAIN}h2.5`, class: "ink" });
    }
    this.title = this.text(left, top - 6, 3.9, "bold");
    this.caption = this.text(left, top + height + 6, 2.9);
    this.text(left + width, top + height + 6, 2.9, "normal", "end").textContent = `${SPEED} mm/s   ${GAIN} mm/mV   ${fs} Hz`;
  }

  trace(lead, first, last, baseline) {
    const { TRACE_LEFT, SPEED } = Ecglib.Sheet, start = TRACE_LEFT + (SPEED * first) / this.fs;
    if (first) this.add("path", { d: `M${start} ${baseline - 3}v6`, class: "ink" });
    this.text(start + 1, baseline - 12, 3.2, "bold").textContent = lead;
    const path = this.add("path", { class: "ink", "clip-path": "url(#ecg-paper)", "data-lead": lead });
    this.traces.push([path, lead, first, Math.min(last + 1, this.length), baseline]);
  }

  // x: twelve leads in mV. The median of each lead is put on its baseline.
  draw(x) {
    const { TRACE_LEFT, SPEED, GAIN } = Ecglib.Sheet;
    for (const [path, lead, first, last, baseline] of this.traces) {
      const signal = x[Ecglib.LEADS.indexOf(lead)];
      const median = Ecglib.median(signal.subarray(0, this.length));
      let d = "";
      for (let n = first; n < last; n++) {
        const y = Math.max(-100, Math.min(400, baseline - GAIN * (signal[n] - median))); // far beyond the paper is clipped
        d += `${d ? "L" : "M"}${(TRACE_LEFT + (SPEED * n) / this.fs).toFixed(2)} ${y.toFixed(2)}`;
      }
      path.setAttribute("d", d);
    }
  }

  say(title, caption) {
    this.title.textContent = title;
    this.caption.textContent = caption;
    this.name.textContent = `Twelve-lead ECG on ECG paper. ${title}. ${caption}.`;
  }

  make(tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries({ ...attributes })) element.setAttribute(name, value);
    if (attributes.class === "ink") { // written out, so that a saved sheet needs no style sheet
      for (const [name, value] of Object.entries({ fill: "none", stroke: "#1a1a1a", "stroke-width": 0.3,
        "stroke-linejoin": "round" })) element.setAttribute(name, value);
    }
    return element;
  }

  add(tag, attributes) {
    const element = this.make(tag, attributes);
    this.svg.append(element);
    return element;
  }

  text(x, y, size, weight = "normal", anchor = "start") {
    return this.add("text", { x, y, "font-size": size, "font-weight": weight, "text-anchor": anchor, fill: "#1a1a1a",
      "font-family": "sans-serif", "xml:space": "preserve" });
  }
};

Ecglib.median = function (values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
};
