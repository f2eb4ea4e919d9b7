// From noise to an ECG, as ecglib/diffusion/sampling.py does it: conditions, beats, clock, sampler, leads.
// The network is an ONNX graph (ecglib/web/graph.py); all else is here. Numbers are float64 outside of it.
globalThis.Ecglib ??= {};

// ---- the schedule and the sampler: ecglib/diffusion/process.py and samplers.py

Ecglib.logSnr = (alphaBar) => alphaBar.map((a) => Math.log(a) - Math.log(1 - a));

// `steps` different times from T-1 down to 0, evenly in t or in the log signal-to-noise ratio.
Ecglib.spacedSteps = function (alphaBar, steps, spacing) {
  const last = alphaBar.length - 1;
  if (spacing === "even" && steps > 1) {
    return Array.from({ length: steps }, (_, k) => Ecglib.roundToEven(k < steps - 1 ? last + k * (-last / (steps - 1)) : 0));
  }
  const logSnr = Ecglib.logSnr(alphaBar);
  const times = [last];
  for (let left = steps - 1; left > 0; left--) {
    const here = times.at(-1);
    const wanted = logSnr[here] + (logSnr[0] - logSnr[here]) / left;
    const far = logSnr.map((value) => Math.abs(value - wanted));
    times.push(Math.max(left - 1, Math.min(here - 1, far.indexOf(Math.min(...far)))));
  }
  return times;
};

// As numpy rounds: 2.5 to 2, 3.5 to 4.
Ecglib.roundToEven = (value) => Math.abs(value % 1) === 0.5 ? 2 * Math.round(value / 2) : Math.round(value);

// One walk from noise x to a signal. With a = alphaBar, each step from t to s < t is
//
//   x_s = sqrt(a_s) D + sqrt(1 - a_s - sigma^2) (x_t - sqrt(a_t) D) / sqrt(1 - a_t) + sigma z
//
// D is the network's estimate of the signal (order 1: DDIM), or runs ahead along its change since the last step (order 2:
// DPM-Solver++(2M)). sigma is eta times that of the ancestral sampler.
Ecglib.walk = async function (denoise, x, alphaBar, times, { order, eta = 0, noise = null, onStep = null }) {
  const a = alphaBar, logSnr = Ecglib.logSnr(a);
  let before = null;
  for (let i = 0; ; i++) {
    const t = times[i], s = times[i + 1];
    const x0Hat = await denoise(x, t);
    if (onStep) await onStep(i, x, x0Hat);
    if (s === undefined) return x0Hat;
    const h = logSnr[s] - logSnr[t];
    const ahead = order === 2 && before && s > 0 ? h / (2 * before.h) : 0;
    const D = ahead ? x0Hat.map((value, k) => value + ahead * (value - before.x0Hat[k])) : x0Hat;
    before = { x0Hat, h };
    const variance = eta ** 2 * ((1 - a[s]) / (1 - a[t])) * (1 - a[t] / a[s]);
    const z = variance ? noise.normal(x.length) : null;
    x = x.map((value, k) => {
      const epsHat = (value - Math.sqrt(a[t]) * D[k]) / Math.sqrt(1 - a[t]);
      return Math.sqrt(a[s]) * D[k] + Math.sqrt(1 - a[s] - variance) * epsHat + (z ? Math.sqrt(variance) * z[k] : 0);
    });
  }
};

Ecglib.SAMPLERS = {
  "dpmpp": { order: 2, eta: 0, name: "DPM-Solver++(2M)" },
  "ddim": { order: 1, eta: 0, name: "DDIM" },
  "dpmpp-sde": { order: 2, eta: 1, name: "SDE-DPM-Solver++(2M)" },
  "ddpm": { order: 1, eta: 1, name: "DDPM (ancestral)" },
};

// ---- what is asked for, as numbers: ecglib/diffusion/conditions.py

// asked: {scp_codes: [...], age, sex, heart_rate}, null for "unknown". The last entry of each group says "unknown".
Ecglib.encode = function (groups, asked) {
  return groups.flatMap(({ column, names, edges, knots }) => {
    const unknown = names.length - 1, row = new Array(names.length).fill(0), value = asked[column] ?? null;
    if (column === "scp_codes") {
      names.forEach((name, k) => { row[k] = value.includes(name) ? 1 : 0; });
      row[unknown] = value.length ? 0 : 1;
    } else if (value === null) {
      row[unknown] = 1;
    } else if (edges) {
      row[edges.filter((edge) => edge <= value).length] = 1;
    } else if (knots) { // shared between the two nearest knots
      const place = Math.max(0, Math.min(knots.length - 1, (value - knots[0]) / (knots[1] - knots[0])));
      const left = Math.min(Math.floor(place), knots.length - 2);
      row[left] = left + 1 - place;
      row[left + 1] = place - left;
    } else {
      row[value] = 1;
    }
    return row;
  });
};

Ecglib.unknown = (groups) => groups.flatMap(({ names }) => names.map((_, k) => (k === names.length - 1 ? 1 : 0)));

// ---- the clock that ticks in heart beats: ecglib/diffusion/clock.py

// Sines and cosines of the phase between beats, and the logarithm of the rate: 2 x harmonics + 1 rows of nTimes numbers.
Ecglib.clock = function (beats, nTimes, fs, harmonics) {
  const rows = new Float64Array((2 * harmonics + 1) * nTimes);
  for (let n = 0, k = 0; n < nTimes; n++) {
    const now = n / fs;
    while (k < beats.length - 2 && beats[k + 1] <= now) k++; // the interval we are in
    const rr = beats[k + 1] - beats[k], phase = (now - beats[k]) / rr;
    for (let j = 0; j < harmonics; j++) {
      rows[j * nTimes + n] = Math.sin(2 * Math.PI * (j + 1) * phase);
      rows[(harmonics + j) * nTimes + n] = Math.cos(2 * Math.PI * (j + 1) * phase);
    }
    rows[2 * harmonics * nTimes + n] = -Math.log(rr);
  }
  return rows;
};

// ---- leads: ecglib/signals/leads.py

// I, aVF, V1-V6 in mV to twelve leads, in the order of Ecglib.LEADS.
Ecglib.toTwelveLeads = function ([i, avf, ...chest]) {
  const mixed = (a, b) => i.map((value, n) => a * value + b * avf[n]);
  return [i, mixed(0.5, 1), mixed(-0.5, 1), mixed(-0.75, -0.5), mixed(0.75, -0.5), avf, ...chest];
};

Ecglib.LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"];

// ---- the network and the generator

// One ONNX graph: (x_t, t, ...) to x0_hat. `about` is {alphaBar, leads, nTimes}.
Ecglib.Model = class {
  static async open(bytes, about) {
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return Object.assign(new Ecglib.Model(), about, { session, evaluations: 0, milliseconds: 0 });
  }

  async evaluate(inputs) {
    const feeds = {};
    for (const name of this.session.inputNames) {
      const value = inputs[name];
      feeds[name] = name === "t"
        ? new ort.Tensor("int64", BigInt64Array.of(BigInt(value)), [1])
        : new ort.Tensor("float32", Float32Array.from(value), name === "conditions" ? [1, value.length]
          : [1, value.length / this.nTimes, this.nTimes]);
    }
    const started = performance.now();
    const answer = (await this.session.run(feeds)).x0_hat.data;
    this.milliseconds += performance.now() - started;
    this.evaluations++;
    return Float64Array.from(answer);
  }

  // denoise(x_t, t), all that a sampler needs to know: with guidance, and its own last estimate as an input.
  denoiser({ conditions, unknown = null, clock = null, guidance = 1 }) {
    let previous = new Float64Array(this.leads * this.nTimes);
    return async (x_t, t) => {
      let estimate = await this.evaluate({ x_t, t, conditions, previous, clock });
      if (guidance !== 1) {
        const free = await this.evaluate({ x_t, t, conditions: unknown, previous, clock });
        estimate = free.map((value, k) => value + guidance * (estimate[k] - value));
      }
      previous = estimate;
      return estimate;
    };
  }
};

Ecglib.Generator = class {
  // parts: what ecglib/web/build.py wrote to generator.js.
  static async open({ about, models }) {
    const { signal, rhythm } = about;
    const generator = Object.assign(new Ecglib.Generator(), { about });
    generator.signal = await Ecglib.Model.open(await Ecglib.unpack(models.signal), signal);
    generator.rhythm = rhythm && await Ecglib.Model.open(await Ecglib.unpack(models.rhythm), { ...rhythm, leads: 1 });
    return generator;
  }

  // When the beats are, in s: the logarithms of successive intervals are diffused first.
  async drawBeats(conditions, noise) {
    const { alphaBar, nTimes, steps, mean, scale, shortest, longest } = this.about.rhythm;
    const phase = Math.fround(noise.uniform()); // the share of the first interval that is over at the start
    const times = Ecglib.spacedSteps(alphaBar, steps, "even");
    const drawn = await Ecglib.walk(this.rhythm.denoiser({ conditions }), noise.normal(nTimes), alphaBar, times, { order: 2 });
    const rr = drawn.map((value) => Math.max(shortest, Math.min(longest, Math.exp(value * scale + mean))));
    const beats = [-phase * rr[0]];
    rr.forEach((interval) => beats.push(beats.at(-1) + interval));
    return beats;
  }

  // Draw one ECG. onStep(i, x_t, x0Hat) is awaited after each evaluation, both as twelve leads in mV.
  async sample(asked, { sampler, steps, spacing, guidance, seed }, onStep = null) {
    const { groups, signal, fs, harmonics } = this.about;
    const noise = new Ecglib.CounterNoise(seed);
    const conditions = Ecglib.encode(groups, asked), unknown = Ecglib.unknown(groups);
    const beats = this.rhythm ? await this.drawBeats(conditions, noise) : null;
    const clock = beats && Ecglib.clock(beats, signal.nTimes, fs, harmonics);
    const denoise = this.signal.denoiser({ conditions, unknown, clock, guidance });
    const times = Ecglib.spacedSteps(signal.alphaBar, steps, spacing);
    const x = await Ecglib.walk(denoise, noise.normal(signal.leads * signal.nTimes), signal.alphaBar, times, {
      ...Ecglib.SAMPLERS[sampler], noise,
      onStep: onStep && ((i, x_t, x0Hat) => onStep(i, this.twelve(x_t), this.twelve(x0Hat))),
    });
    return { x: this.twelve(x), beats };
  }

  // From the network's unit to twelve leads in mV.
  twelve(x) {
    const { mean, scale, signal: { leads, nTimes } } = this.about;
    return Ecglib.toTwelveLeads(Array.from({ length: leads }, (_, k) =>
      x.subarray(k * nTimes, (k + 1) * nTimes).map((value) => value * scale[k] + mean[k])));
  }
};

// base64 of gzip to bytes: a page opened from a disk may not fetch files, but may hold them as text.
Ecglib.unpack = async function (text) {
  const letters = atob(text), packed = new Uint8Array(letters.length);
  for (let k = 0; k < packed.length; k++) packed[k] = letters.charCodeAt(k); // twenty times as fast as Uint8Array.from
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};
