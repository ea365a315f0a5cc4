// Plays a trace over the topology: a dot that goes from stop to stop, at a speed one can follow.

import { s, set, words } from "./dom.js";
import { along, length, path, point } from "./stops.js";

const TRAVEL_MS = 900;
const REST_MS = 1500;
export const SPEEDS = { slow: 0.5, normal: 1, fast: 2.5, "very fast": 12 };

export class Player {
  constructor(topology, told) {
    this.topology = topology;
    this.told = told;
    this.stops = [];
    this.at = 0;
    this.playing = false;
    this.speed = "normal";
    this.trail = s("polyline", { class: "trail" });
    this.halo = s("circle", { class: "halo", r: 13 });
    this.dot = s("circle", { class: "dot", r: 7 });
    this.cross = s("text", { class: "cross", "text-anchor": "middle" }, "✕");
    this.flag = s("g", { class: "flag" }, s("rect", { rx: 5, height: 24 }), s("text", { y: 16, x: 8 }));
    topology.drawn = () => this.#rest();
  }

  load(stops, failed) {
    this.stop();
    Object.assign(this, { stops, failed, at: 0, share: 1 });
    this.topology.over.replaceChildren(this.trail, this.halo, this.dot, this.cross, this.flag);
    this.#rest();
  }

  unload() {
    this.stop();
    this.stops = [];
    this.topology.over.replaceChildren();
    this.topology.drawn = null;
  }

  play() {
    if (this.at >= this.stops.length - 1) this.at = 0;
    this.playing = true;
    this.share = 1;
    this.#rest();
    this.#wait();
  }

  stop() {
    this.playing = false;
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
  }

  pause() {
    this.stop();
    this.share = 1;
    this.#rest();
  }

  go(index) {
    this.pause();
    this.at = Math.max(0, Math.min(this.stops.length - 1, index));
    this.#rest();
  }

  #wait() {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.timer = setTimeout(() => {
      if (this.at >= this.stops.length - 1) {
        this.playing = false;
        this.#rest();
        return;
      }
      this.at += 1;
      if (still) this.#arrive();
      else this.#travel();
    }, REST_MS / SPEEDS[this.speed]);
  }

  #travel() {
    const started = performance.now();
    this.share = 0;
    this.told(this);
    const tick = (now) => {
      if (!this.playing) return;
      const points = this.topology.plan ? path(this.topology.plan, this.stops, this.at) : [];
      const took = (TRAVEL_MS / SPEEDS[this.speed]) * Math.min(1.4, Math.max(0.25, length(points) / 500));
      this.share = points.length < 2 ? 1 : Math.min(1, (now - started) / took);
      this.#draw(points);
      if (this.share < 1) this.frame = requestAnimationFrame(tick);
      else this.#arrive();
    };
    this.frame = requestAnimationFrame(tick);
  }

  #arrive() {
    this.share = 1;
    this.#rest();
    if (this.playing) this.#wait();
  }

  #rest() {
    if (!this.stops.length || !this.topology.plan) return;
    if (this.share >= 1 || !this.playing) {
      this.share = 1;
      this.#draw(path(this.topology.plan, this.stops, this.at));
    }
    this.told(this);
  }

  #draw(points) {
    const stop = this.stops[this.at];
    const spot = points.length > 1 && this.share < 1 ? along(points, this.share) : point(this.topology.plan, stop.place);
    if (!spot) return;
    const ended = stop.ended && this.share >= 1;
    for (const circle of [this.halo, this.dot]) set(circle, { cx: spot[0], cy: spot[1] });
    set(this.dot, { class: ended ? "dot bad" : "dot" });
    set(this.halo, { class: ended ? "halo bad" : "halo" });
    set(this.cross, { x: spot[0], y: spot[1] + 5, visibility: ended ? "visible" : "hidden" });
    set(this.trail, { points: points.map((p) => p.join(",")).join(" ") });
    this.#label(stop, spot);
  }

  // The addresses the packet carries, beside it; what a node changed stands there once it is through.
  #label(stop, [x, y]) {
    const [rect, text] = this.flag.children;
    const flow = stop.hop && (this.share >= 1 ? stop.hop.after : stop.hop.before);
    words(text, flow ? `${flow.source} → ${flow.destination}` : "");
    const width = flow ? text.getComputedTextLength() + 16 : 0;
    set(rect, { width });
    const left = Math.max(4, Math.min(x + 16, this.topology.plan.width - width - 4));
    set(this.flag, { transform: `translate(${left} ${y > 60 ? y - 38 : y + 16})`, visibility: flow ? "visible" : "hidden" });
  }
}
