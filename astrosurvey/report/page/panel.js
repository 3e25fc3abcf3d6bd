// The panel about one source: a stamp, where it is, what was measured, what its flags mean.

class Panel {
  constructor(root, sky, pick) {
    this.root = root;
    this.sky = sky;
    this.data = sky.data;
    this.pick = pick;
  }

  // Without a chosen source: the most significant ones, as a way in that needs no mouse.
  clear() {
    const { sources, number } = this.data;
    delete this.root.dataset.source;
    this.root.replaceChildren(element("p", number ? "Click a source, or search for its id." : "There are no sources here.", { class: "quiet" }));
    if (!number) return;
    const order = Array.from(sources.id.keys()).filter((i) => Number.isFinite(sources.significance[i]));
    order.sort((i, j) => sources.significance[j] - sources.significance[i]);
    const items = order.slice(0, 12).map((i) => {
      const button = element("button", [element("span", String(sources.id[i]), { class: "mono" }), `S/N ${significant(sources.significance[i], 3)}`], { type: "button" });
      button.addEventListener("click", () => this.pick(i, { move: true }));
      return element("li", button);
    });
    if (items.length) this.root.append(element("h3", "Most significant"), element("ol", items, { class: "list" }));
  }

  fill(i) {
    const { sources, tiles } = this.data;
    const heading = element("h3", ["Source ", element("span", String(sources.id[i]), { class: "mono" })], { tabindex: "-1" });
    this.root.replaceChildren(heading, this.stamp(i), this.facts(i, tiles[sources.tile[i]]), ...this.flags(i), ...this.fluxes(i));
    this.root.dataset.source = String(sources.id[i]);
  }

  // Cut from the picture that the page holds, with the source's outline on it.
  stamp(i) {
    const { sources, tiles } = this.data, place = sources.tile[i], tile = tiles[place];
    const canvas = element("canvas", null, { class: "stamp", role: "img", "aria-label": `Image around source ${sources.id[i]}` });
    const side = 232, ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.height = side * ratio;
    const half = Math.max(16, 2.2 * sources.a[i], 12 * tile.factor), scale = side / (2 * half);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = tile.factor * scale < 6;
    const picture = this.sky.pictures[place];
    if (picture) {
      const left = side / 2 - (sources.x[i] + 0.5) * scale;
      const top = side / 2 + (sources.y[i] + 0.5) * scale - picture.naturalHeight * tile.factor * scale;
      context.drawImage(picture, left, top, picture.naturalWidth * tile.factor * scale, picture.naturalHeight * tile.factor * scale);
    }
    context.beginPath();
    context.ellipse(side / 2, side / 2, sources.a[i] * scale, sources.b[i] * scale, (-sources.theta[i] * Math.PI) / 180, 0, 2 * Math.PI);
    context.strokeStyle = COLOURS[this.sky.flagged(i) ? "flagged" : "sound"];
    context.lineWidth = 1.4;
    context.stroke();
    return canvas;
  }

  facts(i, tile) {
    const { sources } = this.data, rows = [];
    if (Number.isFinite(sources.ra[i])) {
      const said = `${sexagesimal(sources.ra[i], true, 2)}  ${sexagesimal(sources.dec[i], false, 1)}`;
      rows.push(["position", said], ["ra, dec", `${fixed(sources.ra[i], 6)}°, ${fixed(sources.dec[i], 6)}°`]);
    }
    rows.push(["tile", tile.name], ["x, y", `${fixed(sources.x[i], 2)}, ${fixed(sources.y[i], 2)}`]);
    if (Number.isFinite(sources.significance[i])) rows.push(["peak S/N", significant(sources.significance[i], 3)]);
    if (sources.pixels[i]) rows.push(["footprint", `${sources.pixels[i]} pixels`]);
    const truth = this.nearestTruth(i);
    if (truth) rows.push(["truth", truth]);
    return element("dl", rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]), { class: "facts" });
  }

  // Faint objects are everywhere, so it is the brightest one nearby that counts.
  nearestTruth(i) {
    const { sources, truth, truthNumber, truthBand } = this.data;
    if (!truth) return "";
    const distance = (j) => Math.hypot(truth.x[j] - sources.x[i], truth.y[j] - sources.y[i]);
    let best = -1;
    for (let j = 0; j < truthNumber; j++) {
      if (truth.tile[j] === sources.tile[i] && distance(j) < 4 && (best < 0 || truth.magnitude[j] < truth.magnitude[best])) best = j;
    }
    if (best < 0) return "nothing within 4 pixels";
    return `${truth.star[best] ? "star" : "galaxy"}, ${truthBand} = ${fixed(truth.magnitude[best], 2)}, ${fixed(distance(best), 1)} px away`;
  }

  flags(i) {
    const bits = this.data.flags.filter((flag) => this.data.sources.flags[i] & flag.value);
    if (!bits.length) return [element("p", "No flags.", { class: "quiet" })];
    return [element("ul", bits.map((flag) => element("li", [element("b", flag.name), ` ${flag.meaning}`])), { class: "flags" })];
  }

  fluxes(i) {
    const measured = this.data.fluxes.filter((entry) => Number.isFinite(entry.flux[i]) || entry.flags[i]);
    if (!measured.length) return [];
    const head = element("tr", ["", "band", "flux (nJy)", "AB mag"].map((name) => element("th", name, { scope: "col" })));
    let last = "";
    const rows = measured.map((entry) => {
      const flux = entry.flux[i], err = entry.err[i];
      const magnitude = this.data.zeroPoint - 2.5 * Math.log10(flux);
      const wrong = this.data.flags.filter((flag) => entry.flags[i] & flag.value).map((flag) => flag.name).join(", ");
      const row = element("tr", [
        element("th", entry.method === last ? "" : entry.method.replace("_", " "), { scope: "row" }),
        element("td", entry.band),
        element("td", `${significant(flux)} ± ${significant(err, 2)}`),
        element("td", flux > 0 ? `${fixed(magnitude, 2)} ± ${fixed((1.0857 * err) / flux, 2)}` : "\u2014"),
      ], wrong ? { title: wrong, class: "wrong" } : {});
      last = entry.method;
      return row;
    });
    const table = element("table", [element("thead", head), element("tbody", rows)], { class: "fluxes" });
    return [element("div", table, { class: "scroll" })];
  }
}
