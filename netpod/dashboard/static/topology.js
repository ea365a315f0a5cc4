// The picture: outside, edge, underlay, nodes with their bridges and pods, Services and Ingresses over them.
// Redrawn at most once a frame; elements are kept by key, so that only what changed is touched.

import { s, set, words } from "./dom.js";
import { layout } from "./layout.js";
import { keyOf, nodeAddress, nodeReady, podName, podState, shortName } from "./model.js";

const LINES = 14;
const SCALES = [1.6, 1.4, 1.2, 1];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Topology {
  constructor(holder, choose) {
    this.choose = choose;
    this.elements = new Map();
    this.chosen = "";
    this.hovered = "";
    this.stopAt = "outside"; // the one thing that Tab reaches; arrow keys go on from there
    this.wires = s("g", { class: "wires" });
    this.relations = s("g", { class: "relations" });
    this.things = s("g", {});
    this.over = s("g", { class: "over" });
    this.svg = s("svg", { role: "group", "aria-label": "Topology of the cluster; arrow keys go from one thing to the next" }, this.wires, this.things, this.relations, this.over);
    this.holder = holder;
    holder.append(this.svg);
    this.svg.addEventListener("keydown", (event) => this.#walk(event));
    this.watcher = new ResizeObserver(() => this.#soon());
    this.watcher.observe(holder);
  }

  stop() {
    this.watcher.disconnect();
    cancelAnimationFrame(this.frame);
    this.stopped = true;
  }

  show(model) {
    this.model = model;
    this.#soon();
  }

  select(key) {
    this.chosen = key;
    this.#soon();
  }

  #soon() {
    if (this.frame || this.stopped) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.model) this.#draw();
    });
  }

  #draw() {
    const width = Math.max(340, this.holder.clientWidth - 2);
    // As large as it fits: a picture is looked at from the last row too.
    const room = this.holder.getBoundingClientRect().top;
    const plain = layout(this.model, width);
    for (const scale of SCALES) {
      this.plan = scale === 1 ? plain : layout(this.model, width / scale);
      if (this.plan.bars.length > plain.bars.length || this.plan.hidden > plain.hidden) continue;
      const height = this.plan.height * scale;
      set(this.svg, { width, height, viewBox: `0 0 ${width / scale} ${this.plan.height}`, "data-density": this.plan.density });
      if (height < innerHeight - room) break;
    }
    this.#drawWires();
    const gone = new Set(this.elements.keys());
    for (const box of this.plan.boxes.values()) {
      gone.delete(box.key);
      this.#drawBox(box);
    }
    for (const key of gone) {
      this.elements.get(key).remove();
      this.elements.delete(key);
    }
    if (gone.has(this.stopAt)) this.#stopAt("outside");
    this.#relate();
    this.drawn?.(this.plan);
  }

  #drawWires() {
    const { boxes, bars, hidden, width } = this.plan;
    const [outside, edge] = [boxes.get("outside"), boxes.get("edge")];
    const lines = [[outside.x + outside.w, outside.cy, edge.x, edge.cy]];
    if (bars.length) lines.push([edge.cx, edge.y + edge.h, edge.cx, bars[0].y]);
    if (bars.length > 1) lines.push([bars[0].x1, bars[0].y, bars[0].x1, bars.at(-1).y]);
    for (const box of boxes.values()) if (box.node) lines.push([box.fx, box.bar, box.fx, box.y]);
    const parts = lines.map(([x1, y1, x2, y2]) => s("line", { x1, y1, x2, y2 }));
    for (const bar of bars) parts.push(s("line", { class: "bar", x1: bar.x1, y1: bar.y, x2: bar.x2, y2: bar.y }));
    if (bars.length) parts.push(s("text", { class: "small", x: bars[0].x1 + 6, y: bars[0].y - 8 }, "underlay: the wire between the nodes"));
    if (hidden && bars.length) parts.push(s("text", { class: "small", x: width - 26, y: bars[0].y - 8, "text-anchor": "end" }, `and ${hidden} more: filter by namespace, or search`));
    this.wires.replaceChildren(...parts);
  }

  #drawBox(box) {
    const seen = this.#describe(box);
    let element = this.elements.get(box.key);
    if (!element) element = this.#make(box);
    set(element, {
      transform: `translate(${box.x} ${box.y})`,
      class: `thing ${seen.kind} ${seen.state}${this.chosen === box.key ? " chosen" : ""}`,
      "aria-label": seen.label,
      tabindex: box.key === this.stopAt ? 0 : -1,
    });
    const [rect, title, name, sub, ...rest] = element.children;
    set(rect, { width: box.w, height: box.h });
    words(title, seen.label);
    words(name, seen.name);
    words(sub, seen.sub);
    const dense = box.pod && this.plan.density !== "large";
    const small = box.pod && this.plan.density === "small";
    const middle = box.node ? 21 : box.h / 2;
    set(name, { x: small ? 0 : 10, y: dense ? 16 : middle - 2, visibility: small ? "hidden" : "visible" });
    set(sub, { x: 10, y: middle + 13, visibility: dense ? "hidden" : "visible" });
    if (box.node) this.#drawNode(box, rest);
  }

  #drawNode(box, [port, pill, pillText, bridge, bridgeText]) {
    set(port, { cx: box.w / 2, cy: 0, r: 5 });
    set(pill, { x: box.w / 2 - 34, y: 24, width: 68, height: 20, rx: 10 });
    set(pillText, { x: box.w / 2, y: 38 });
    set(bridge, { x1: 10, x2: box.w - 10, y1: 62, y2: 62 });
    set(bridgeText, { x: box.w - 10, y: 56 });
    words(bridgeText, `cni0 ${box.node.spec?.podCIDR || ""}`);
  }

  #make(box) {
    const element = s("g", { role: "button", "data-key": box.key },
      s("rect", { rx: box.node ? 10 : 6 }), s("title", {}), s("text", { class: "name" }), s("text", { class: "sub" }));
    if (box.node) {
      element.append(s("circle", { class: "port" }), s("rect", { class: "pill" }), s("text", { class: "pilltext", "text-anchor": "middle" }, "netfilter"),
        s("line", { class: "bridge" }), s("text", { class: "small", "text-anchor": "end" }));
    }
    element.addEventListener("click", () => this.choose(box.key));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.choose(box.key);
      }
    });
    element.addEventListener("focus", () => this.#stopAt(box.key));
    for (const [name, key] of [["pointerenter", box.key], ["pointerleave", ""], ["focus", box.key], ["blur", ""]]) {
      element.addEventListener(name, () => { this.hovered = key; this.#relate(); });
    }
    this.elements.set(box.key, element);
    this.things.append(element);
    return element;
  }

  #stopAt(key) {
    this.elements.get(this.stopAt)?.setAttribute("tabindex", -1);
    this.stopAt = key;
    this.elements.get(key)?.setAttribute("tabindex", 0);
  }

  // To the nearest thing in the direction of an arrow key; what is more aside than ahead comes last.
  #walk(event) {
    const way = ARROWS[event.key];
    const from = this.plan?.boxes.get(event.target.dataset?.key);
    if (!way || !from) return;
    event.preventDefault();
    const [dx, dy] = way;
    const middle = (box) => (box.node ? box.fy : box.cy); // a node's own, above its pods
    const gap = (a, length, b, other) => Math.max(0, b - a - length, a - b - other);
    let nearest = null, least = Infinity;
    for (const box of this.plan.boxes.values()) {
      const ahead = (box.cx - from.cx) * dx + (middle(box) - middle(from)) * dy;
      const aside = dx ? Math.abs(middle(box) - middle(from)) : gap(from.x, from.w, box.x, box.w);
      const cost = ahead + 5 * aside + (aside > ahead ? 1e6 : 0);
      if (ahead > 1 && cost < least) [nearest, least] = [box, cost];
    }
    if (nearest) this.elements.get(nearest.key).focus();
  }

  #describe(box) {
    if (box.pod) {
      const { words: state, kind } = podState(box.pod);
      const { name, namespace } = box.pod.metadata;
      const ip = box.pod.status?.podIP || "";
      const length = this.plan.density === "large" ? 14 : 8;
      return { kind: "pod", state: kind, name: podName(box.pod, length), sub: state === "Ready" ? ip : state, label: `Pod ${namespace}/${name}, ${state}, ${ip}` };
    }
    if (box.node) {
      const ready = nodeReady(box.node);
      const cordoned = box.node.spec?.unschedulable ? ", cordoned" : "";
      const name = box.node.metadata.name;
      return { kind: "node", state: ready ? "good" : "bad", name, sub: nodeAddress(box.node), label: `Node ${name}, ${ready ? "Ready" : "NotReady"}${cordoned}, ${nodeAddress(box.node)}` };
    }
    if (box.service) {
      const { metadata, spec } = box.service;
      const count = this.model.endpoints.get(`${metadata.namespace}/${metadata.name}`)?.size ?? 0;
      const none = spec.selector && !count;
      return { kind: "service", state: none ? "bad" : "good", name: shortName(metadata.name, 22), sub: `${spec.type === "ClusterIP" ? "" : spec.type + " "}${spec.clusterIP || spec.externalName || ""}`, label: `Service ${metadata.namespace}/${metadata.name}, ${spec.type}, ${spec.clusterIP || ""}, ${count} endpoints` };
    }
    if (box.ingress) {
      const hosts = (box.ingress.spec?.rules || []).map((rule) => rule.host || "*").join(", ");
      return { kind: "ingress", state: "good", name: shortName(box.ingress.metadata.name, 22), sub: hosts || "default backend", label: `Ingress ${box.ingress.metadata.namespace}/${box.ingress.metadata.name}, ${hosts}` };
    }
    if (box.key === "edge") {
      const vips = this.model.services.flatMap((service) => (service.status?.loadBalancer?.ingress || []).map((i) => i.ip)).filter(Boolean);
      return { kind: "place", state: "good", name: "edge", sub: vips.length ? `VIP ${vips[0]}${vips.length > 1 ? " …" : ""}` : "load balancer", label: `Edge: router and load balancer, ${vips.join(", ")}` };
    }
    return { kind: "place", state: "good", name: "outside", sub: "the client", label: "Outside: the client, out of the cluster" };
  }

  // Lines from what is chosen or under the pointer to what belongs to it.
  #relate() {
    const key = this.hovered || this.chosen;
    const pairs = [];
    const boxes = this.plan?.boxes;
    if (!boxes) return;
    for (const { ingress, services } of this.model.ingresses) {
      const from = keyOf("ingress", ingress);
      for (const name of services) {
        const to = `service/${name}`;
        if (key === from || key === to) pairs.push([from, to, true]);
        if (key === from) pairs.push(...this.#endpoints(name));
      }
    }
    if (key.startsWith("service/")) pairs.push(...this.#endpoints(key.slice("service/".length)));
    if (key.startsWith("pod/")) {
      for (const [service, pods] of this.model.endpoints) {
        const pod = key.slice("pod/".length);
        if (pods.has(pod)) pairs.push([`service/${service}`, key, pods.get(pod)]);
      }
    }
    const near = new Set(pairs.flatMap(([a, b]) => [a, b]));
    for (const [each, element] of this.elements) element.classList.toggle("related", near.has(each) && each !== key);
    // Forty lines say less than forty frames.
    const drawn = pairs.filter(([a, b]) => boxes.has(a) && boxes.has(b) && (pairs.length <= LINES || !b.startsWith("pod/")));
    const curves = drawn.map(([a, b, ready]) => {
      const [p, q] = [boxes.get(a), boxes.get(b)];
      if (Math.abs(p.y - q.y) < p.h) {
        // Side by side: from edge to edge, not through the names.
        const [left, right] = p.x < q.x ? [p, q] : [q, p];
        return s("path", { d: `M${left.x + left.w} ${left.cy}L${right.x} ${right.cy}`, class: ready ? "" : "notready" });
      }
      const [y1, y2] = p.cy < q.cy ? [p.y + p.h, q.y] : [p.y, q.y + q.h];
      const bend = (y1 + y2) / 2;
      return s("path", { d: `M${p.cx} ${y1}C${p.cx} ${bend} ${q.cx} ${bend} ${q.cx} ${y2}`, class: ready ? "" : "notready" });
    });
    this.relations.replaceChildren(...curves);
  }

  #endpoints(service) {
    return [...(this.model.endpoints.get(service) || [])].map(([pod, ready]) => [`service/${service}`, `pod/${pod}`, ready]);
  }
}
