// What Python packed into the page: JSON, and columns of numbers as base64 of little-endian arrays.

const ARRAYS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u2: Uint16Array, u1: Uint8Array };

function unpack(column) {
  const text = atob(column.data);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new ARRAYS[column.type](bytes.buffer);
}

function unpackAll(columns) {
  const arrays = {};
  for (const [name, column] of Object.entries(columns)) arrays[name] = unpack(column);
  return arrays;
}

function readData() {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = unpackAll(data.sources.columns);
  const fluxes = data.sources.fluxes.map((entry) => ({
    band: entry.band, method: entry.method, flux: unpack(entry.flux), err: unpack(entry.err), flags: unpack(entry.flags),
  }));
  const truth = data.truth.number ? unpackAll(data.truth.columns) : null;
  return {
    tiles: data.tiles, mosaic: data.mosaic, flags: data.flags, zeroPoint: data.zero_point,
    number: data.sources.number, sources: columns, fluxes,
    truth, truthNumber: data.truth.number, truthBand: data.truth.band,
  };
}

// Numbers for people.

const MINUS = "\u2212";

function fixed(value, digits) {
  return Number.isFinite(value) ? value.toFixed(digits).replace("-", MINUS) : "\u2014";
}

function significant(value, digits = 4) {
  if (!Number.isFinite(value)) return "\u2014";
  if (value === 0) return "0";
  const size = Math.floor(Math.log10(Math.abs(value)));
  const text = size >= 7 || size < -4 ? value.toExponential(digits - 1) : value.toFixed(Math.max(0, digits - 1 - size));
  return text.replace("-", MINUS);
}

function sexagesimal(degrees, hours, digits) {
  const units = 10 ** digits * 3600;
  let rest = Math.round((Math.abs(degrees) / (hours ? 15 : 1)) * units);
  if (hours) rest %= 24 * units;
  const seconds = (rest % (60 * 10 ** digits)) / 10 ** digits;
  const minutes = Math.floor(rest / (60 * 10 ** digits)) % 60;
  const whole = Math.floor(rest / units);
  const pad = (n, width) => String(n).padStart(width, "0");
  const sign = hours ? "" : degrees < 0 ? MINUS : "+";
  const tail = seconds.toFixed(digits).padStart(3 + digits, "0");
  return hours ? `${pad(whole, 2)}h ${pad(minutes, 2)}m ${tail}s` : `${sign}${pad(whole, 2)}° ${pad(minutes, 2)}′ ${tail}″`;
}

// Pixels of a tile to the sky, on the plane that touches it at the tile's centre.

function toSky(wcs, x, y) {
  const [a, b, c, d, e, f] = wcs.matrix, rad = Math.PI / 180;
  const xi = (a + b * x + c * y) * rad, eta = (d + e * x + f * y) * rad;
  const ra0 = wcs.center[0] * rad, dec0 = wcs.center[1] * rad;
  const along = Math.cos(dec0) - eta * Math.sin(dec0);
  const ra = ra0 + Math.atan2(xi, along);
  const dec = Math.atan2(Math.sin(dec0) + eta * Math.cos(dec0), Math.hypot(xi, along));
  return [((ra / rad) % 360 + 360) % 360, dec / rad];
}

function pixelScale(wcs) {
  const m = wcs.matrix;
  return Math.sqrt(Math.abs(m[1] * m[5] - m[2] * m[4])) * 3600;
}

// Elements from text: nothing a catalogue holds is ever read as HTML.

function element(name, content, attributes = {}) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  for (const part of Array.isArray(content) ? content : [content]) if (part !== undefined && part !== null) made.append(part);
  return made;
}
