// Noise from a seed and a counter: the same numbers as ecglib/web/noise.py, line by line.
globalThis.Ecglib ??= {};

// h: one-to-one on whole numbers of 32 bits, and each bit of the answer depends on all.
Ecglib.mix = function (k) {
  k = Math.imul(k ^ (k >>> 16), 0x85ebca6b);
  k = Math.imul(k ^ (k >>> 13), 0xc2b2ae35);
  return (k ^ (k >>> 16)) >>> 0;
};

Ecglib.CounterNoise = class {
  constructor(seed) {
    this.key = Ecglib.mix(seed);
    this.counter = 0;
  }

  // One number in (0, 1).
  uniform() {
    return (Ecglib.mix(this.counter++ ^ this.key) + 0.5) / 2 ** 32;
  }

  // n standard normal numbers (Box & Muller), each rounded to float32.
  normal(n) {
    return Float64Array.from({ length: n }, () => {
      const u = this.uniform(), v = this.uniform();
      return Math.fround(Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v));
    });
  }
};
