// Drawing: the tiles' pictures, the sources over them, a compass and a scale bar.

const COLOURS = { sound: "#5ad1ff", flagged: "#ffb454", truth: "#ff7ad9", chosen: "#ffffff" };

class Sky {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.pictures = [];
    this.tile = 0;
    this.show = { sources: true, truth: false, filter: "all" };
    this.chosen = -1;
    // What every source has, such as no sky position, tells none from another.
    this.common = data.number > 1 ? data.sources.flags.reduce((all, flags) => all & flags) : 0;
    this.view = new View(canvas);
    this.view.changed = () => this.draw();
  }

  async load() {
    const loaded = (tile) => new Promise((resolve, reject) => {
      const picture = new Image();
      picture.onload = () => resolve(picture);
      picture.onerror = () => reject(new Error(`the picture of tile ${tile.name} cannot be read`));
      picture.src = tile.picture;
    });
    this.pictures = await Promise.all(this.data.tiles.map(loaded));
    this.frame();
  }

  // The tiles in view: all of a mosaic, or the one chosen.
  get visible() {
    return this.data.mosaic ? this.data.tiles.map((_, place) => place) : [this.tile];
  }

  box(place) {
    const tile = this.data.tiles[place];
    const [x0, y0] = this.data.mosaic ? tile.place : [0, 0];
    return [x0, y0, x0 + tile.size[0], y0 + tile.size[1]];
  }

  frame() {
    const boxes = this.visible.map((place) => this.box(place));
    this.view.bounds = [0, 1, 2, 3].map((side) => (side < 2 ? Math.min : Math.max)(...boxes.map((box) => box[side])));
    this.view.fit();
  }

  position(i) {
    const { x, y, tile } = this.data.sources;
    const [x0, y0] = this.box(tile[i]);
    return [x0 + x[i], y0 + y[i]];
  }

  flagged(i) {
    return (this.data.sources.flags[i] & ~this.common) !== 0;
  }

  passes(i) {
    const flags = this.data.sources.flags[i];
    if (this.show.filter === "all") return true;
    if (this.show.filter === "none") return !this.flagged(i);
    if (this.show.filter === "any") return this.flagged(i);
    return (flags & Number(this.show.filter)) !== 0;
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const { canvas, view } = this, ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#07090d";
    context.fillRect(0, 0, view.width, view.height);
    for (const place of this.visible) this.paintTile(context, place);
    if (this.show.truth && this.data.truth) this.paintTruth(context);
    if (this.show.sources) this.paintSources(context);
    if (this.chosen >= 0 && this.visible.includes(this.data.sources.tile[this.chosen])) this.paintChosen(context);
    this.paintScale(context);
  }

  paintTile(context, place) {
    const tile = this.data.tiles[place], picture = this.pictures[place];
    if (!picture) return;
    const [x0, y0] = this.box(place), { scale } = this.view;
    const [left, bottom] = this.view.toScreen(x0 - 0.5, y0 - 0.5);
    const [w, h] = [picture.naturalWidth * tile.factor * scale, picture.naturalHeight * tile.factor * scale];
    if (left > this.view.width || bottom < 0 || left + w < 0 || bottom - h > this.view.height) return;
    context.imageSmoothingEnabled = tile.factor * scale < 3;
    context.imageSmoothingQuality = "high";
    // Whole screen pixels, so that neighbouring tiles leave no seam.
    const [l, t, r, b] = [left, bottom - h, left + w, bottom].map(Math.round);
    context.drawImage(picture, l, t, r - l, b - t);
  }

  paintSources(context) {
    const { sources, number } = this.data, seen = new Set(this.visible);
    const paths = { sound: new Path2D(), flagged: new Path2D() };
    for (let i = 0; i < number; i++) {
      if (!seen.has(sources.tile[i]) || !this.passes(i)) continue;
      const [px, py] = this.view.toScreen(...this.position(i));
      if (px < -50 || py < -50 || px > this.view.width + 50 || py > this.view.height + 50) continue;
      this.outline(paths[this.flagged(i) ? "flagged" : "sound"], i, px, py);
    }
    context.lineWidth = this.view.scale < 0.5 ? 0.8 : 1.2;
    context.globalAlpha = Math.min(0.9, 0.3 + 0.4 * this.view.scale); // from afar the sky, near by the sources
    for (const [kind, path] of Object.entries(paths)) {
      context.strokeStyle = COLOURS[kind];
      context.stroke(path);
    }
    context.globalAlpha = 1;
  }

  outline(path, i, px, py, least = 2.5) {
    const { a, b, theta } = this.data.sources;
    const major = Math.max(a[i] * this.view.scale, least), minor = Math.max(b[i] * this.view.scale, least);
    const angle = (-theta[i] * Math.PI) / 180; // y runs down on the screen
    path.moveTo(px + major * Math.cos(angle), py + major * Math.sin(angle));
    path.ellipse(px, py, major, minor, angle, 0, 2 * Math.PI);
  }

  paintTruth(context) {
    const { truth, truthNumber } = this.data, seen = new Set(this.visible), path = new Path2D();
    for (let i = 0; i < truthNumber; i++) {
      if (!seen.has(truth.tile[i])) continue;
      const [x0, y0] = this.box(truth.tile[i]);
      const [px, py] = this.view.toScreen(x0 + truth.x[i], y0 + truth.y[i]);
      if (px < 0 || py < 0 || px > this.view.width || py > this.view.height) continue;
      const size = truth.star[i] ? 3.5 : 2.5;
      path.moveTo(px - size, py);
      path.lineTo(px + size, py);
      path.moveTo(px, py - size);
      path.lineTo(px, py + size);
    }
    context.strokeStyle = COLOURS.truth;
    context.lineWidth = 1;
    context.stroke(path);
  }

  paintChosen(context) {
    const [px, py] = this.view.toScreen(...this.position(this.chosen)), path = new Path2D();
    this.outline(path, this.chosen, px, py, 6);
    context.strokeStyle = "#000";
    context.lineWidth = 4.5;
    context.stroke(path);
    context.strokeStyle = COLOURS.chosen;
    context.lineWidth = 2;
    context.stroke(path);
  }

  // The tile under a place of the frame; where tiles overlap, the one whose core cell it is.
  tileAt(x, y) {
    const inside = ([x0, y0, x1, y1]) => x >= x0 - 0.5 && x < x1 - 0.5 && y >= y0 - 0.5 && y < y1 - 0.5;
    const found = this.visible.filter((place) => inside(this.box(place)));
    const owner = found.find((place) => this.data.mosaic && this.data.tiles[place].core && inside(this.data.tiles[place].core));
    return owner ?? found[0] ?? -1;
  }

  // The source under a place of the screen: the nearest centre within reach.
  sourceAt(px, py) {
    const { sources, number } = this.data, seen = new Set(this.visible);
    let best = -1, least = Infinity;
    for (let i = 0; i < number; i++) {
      if (!seen.has(sources.tile[i]) || !this.passes(i)) continue;
      const [x, y] = this.view.toScreen(...this.position(i));
      const distance = Math.hypot(x - px, y - py);
      if (distance < least && distance < Math.max(14, sources.b[i] * this.view.scale)) [best, least] = [i, distance];
    }
    return best;
  }

  paintScale(context) {
    const wcs = this.data.tiles[this.visible[0]].wcs, { height, scale } = this.view;
    const unit = wcs ? pixelScale(wcs) : 1;
    const wished = (110 * unit) / scale;
    const steps = wcs ? [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200] : [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
    const length = steps.filter((step) => step <= wished).pop() ?? steps[0];
    const label = !wcs ? `${length} px` : length < 60 ? `${length}″` : length < 3600 ? `${length / 60}′` : `${length / 3600}°`;
    const line = (points) => {
      for (const [colour, width] of [["rgba(0,0,0,.65)", 4], ["#fff", 1.6]]) {
        Object.assign(context, { strokeStyle: colour, lineWidth: width });
        context.beginPath();
        points.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.stroke();
      }
    };
    const text = (said, x, y) => {
      Object.assign(context, { font: "600 12px system-ui, sans-serif", textAlign: "center", lineWidth: 3, strokeStyle: "rgba(0,0,0,.65)", fillStyle: "#fff" });
      context.strokeText(said, x, y);
      context.fillText(said, x, y);
    };
    const width = (length / unit) * scale, base = height - 16;
    line([[16, base - 5], [16, base], [16 + width, base], [16 + width, base - 5]]);
    text(label, 16 + width / 2, base - 6);
    if (!wcs) return;
    const m = wcs.matrix, det = m[1] * m[5] - m[2] * m[4], x = 44, y = height - 74;
    for (const [name, dx, dy] of [["N", -m[2] / det, m[1] / det], ["E", m[5] / det, -m[4] / det]]) {
      const size = Math.hypot(dx, dy);
      line([[x, y], [x + (22 * dx) / size, y - (22 * dy) / size]]);
      text(name, x + (32 * dx) / size, y - (32 * dy) / size + 4);
    }
  }
}
