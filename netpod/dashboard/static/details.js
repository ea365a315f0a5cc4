// What is chosen: its state, addresses, usage, events, logs, YAML, and for who may edit, what can be done to it.

import { age, button, h } from "./dom.js";
import { podState } from "./model.js";
import { sparks } from "./spark.js";
import { toYaml } from "./yaml.js";

const LINES = 500;
const REFRESH_MS = 15000;
export const PATHS = {
  node: (ns, name) => `/api/v1/nodes/${name}`,
  pod: (ns, name) => `/api/v1/namespaces/${ns}/pods/${name}`,
  service: (ns, name) => `/api/v1/namespaces/${ns}/services/${name}`,
  ingress: (ns, name) => `/apis/networking.k8s.io/v1/namespaces/${ns}/ingresses/${name}`,
};
const KINDS = { node: "Node", pod: "Pod", service: "Service", ingress: "Ingress" };

export class Details {
  constructor(app, panel, key) {
    const [kind, namespace, name] = key.split("/");
    Object.assign(this, { app, panel, kind, namespace, name });
    this.url = PATHS[kind]?.(namespace, name);
    this.head = h("div", {});
    this.usage = h("div", {});
    this.events = h("ul", { class: "events" });
    this.log = h("pre", { class: "log", tabindex: "0", "aria-label": "Log", hidden: true });
    this.yaml = h("pre", { class: "yaml", tabindex: "0", "aria-label": "YAML" });
    panel.replaceChildren(this.head, this.usage, h("h3", {}, "Events"), this.events, ...this.#logs(), h("details", {}, h("summary", {}, "YAML"), this.yaml));
    this.update();
    this.timer = setInterval(() => this.#measure(), REFRESH_MS);
    this.#measure();
  }

  stop() {
    clearInterval(this.timer);
    this.following?.abort();
  }

  update() {
    const collection = { node: "nodes", pod: "pods", service: "services", ingress: "ingresses" }[this.kind];
    const object = this.app.collections[collection]?.items.get(`${this.namespace}/${this.name}`);
    if (object !== this.object || !object) {
      this.object = object;
      this.head.replaceChildren(...this.#summary(object));
      this.yaml.textContent = object ? toYaml(clean(object)) : "";
    }
    this.#showEvents();
  }

  #summary(object) {
    const parts = [h("h2", {}, h("small", {}, KINDS[this.kind] || "Place"), ` ${this.name || this.kind}`)];
    if (!object) {
      const text = { outside: "The client stands here, out of the cluster: 203.0.113.0/24 by default.", edge: "The site's router and the cloud's load balancer: it sends a VIP's connections to a node port of a healthy node." }[this.kind];
      return [...parts, h("p", {}, text || "It is gone.")];
    }
    const rows = this.#rows(object).filter(([, value]) => value !== undefined && value !== "");
    parts.push(h("dl", {}, rows.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, value)])));
    const links = [h("a", { href: `#/objects/${plural(this.kind)}` }, `all ${plural(this.kind)}`)];
    if (this.kind === "service") links.unshift(h("a", { href: `#/rules/${this.namespace}/${this.name}` }, "its rules"));
    if (this.kind === "pod") links.unshift(h("a", { href: "#/packet", onclick: () => this.app.ask(`pod/${this.namespace}/${this.name}`) }, "send a packet from it"));
    parts.push(h("p", { class: "links" }, links.flatMap((link, i) => (i ? [" · ", link] : [link]))));
    if (this.app.edit && this.kind === "pod") parts.push(button("Delete", () => this.#remove(), { class: "danger" }));
    return parts;
  }

  #rows({ metadata, spec = {}, status = {} }) {
    const labels = Object.entries(metadata.labels || {}).map(([k, v]) => `${k}=${v}`).join(", ");
    const common = [["namespace", metadata.namespace], ["age", age(metadata.creationTimestamp)], ["labels", labels]];
    if (this.kind === "pod") {
      const restarts = (status.containerStatuses || []).reduce((sum, c) => sum + c.restartCount, 0);
      return [["state", podState(this.object).words], ["address", status.podIP], ["node", spec.nodeName], ["containers", (spec.containers || []).map((c) => `${c.name} (${c.image})`).join(", ")], ["restarts", String(restarts)], ...common];
    }
    if (this.kind === "node") {
      const conditions = (status.conditions || []).filter((c) => c.status === "True" || c.type === "Ready").map((c) => `${c.type}=${c.status}`);
      return [["conditions", conditions.join(", ")], ["addresses", (status.addresses || []).map((a) => a.address).join(", ")], ["pod network", (spec.podCIDRs || [spec.podCIDR]).join(", ")], ["kernel", status.nodeInfo?.kernelVersion], ["taints", (spec.taints || []).map((t) => `${t.key}:${t.effect}`).join(", ")], ...common.slice(1)];
    }
    if (this.kind === "service") {
      const ports = (spec.ports || []).map((p) => `${p.port}${p.nodePort ? `:${p.nodePort}` : ""}/${p.protocol} → ${p.targetPort}`).join(", ");
      const vips = (status.loadBalancer?.ingress || []).map((i) => i.ip || i.hostname).join(", ");
      const ready = [...(this.app.model().endpoints.get(`${metadata.namespace}/${metadata.name}`) || [])].filter(([, ok]) => ok).length;
      return [["type", spec.type], ["cluster IP", (spec.clusterIPs || [spec.clusterIP]).join(", ")], ["load balancer", vips], ["ports", ports], ["ready endpoints", String(ready)], ["outside traffic", { Local: "to pods on the same node", Cluster: "to pods on all nodes" }[spec.externalTrafficPolicy]], ["session affinity", spec.sessionAffinity === "ClientIP" ? "by client address" : ""], ["selector", Object.entries(spec.selector || {}).map(([k, v]) => `${k}=${v}`).join(", ")], ...common];
    }
    const rules = (spec.rules || []).flatMap((rule) => (rule.http?.paths || []).map((p) => `${rule.host || "*"}${p.path || "/"} (${p.pathType}) → ${p.backend.service?.name}:${p.backend.service?.port?.number ?? p.backend.service?.port?.name}`));
    return [["rules", rules.join("; ")], ["class", spec.ingressClassName], ["TLS", (spec.tls || []).flatMap((t) => t.hosts || []).join(", ")], ...common];
  }

  #showEvents() {
    this.events.replaceChildren(...eventsOf(this.app, KINDS[this.kind], this.namespace, this.name));
  }

  #logs() {
    if (this.kind !== "pod") return [];
    return [h("h3", {}, "Log"), " ", button("follow", (event) => this.#follow(event.target)), this.log];
  }

  async #follow(control) {
    if (this.following) {
      this.following.abort();
      this.following = null;
      control.textContent = "follow";
      return;
    }
    this.following = new AbortController();
    control.textContent = "stop";
    this.log.hidden = false;
    this.log.textContent = "";
    const name = this.object?.spec?.containers?.[0]?.name || "";
    try {
      const answer = await fetch(`${this.url}/log?container=${name}&tailLines=200&follow=true`, { signal: this.following.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let kept = [];
      for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
        kept = (kept.join("\n") + chunk.value).split("\n").slice(-LINES);
        this.log.textContent = kept.join("\n");
        this.log.scrollTop = this.log.scrollHeight;
      }
    } catch (error) {
      if (error.name !== "AbortError") this.log.append(`\n${error.message}`);
    }
  }

  async #measure() {
    if (!["node", "pod"].includes(this.kind)) return;
    const node = this.kind === "node" ? this.name : this.object?.spec?.nodeName;
    if (!node) return;
    const answer = await fetch(`/apis/stats.netpod.dev/v1/nodestats/${node}/history`).catch(() => null);
    if (!answer?.ok) return;
    const history = await answer.json();
    const usage = this.kind === "node" ? history.usage : history.pods.find((pod) => pod.uid === this.object?.metadata.uid);
    if (usage) this.usage.replaceChildren(sparks(usage));
  }

  async #remove() {
    if (!confirm(`Delete pod ${this.namespace}/${this.name}?`)) return;
    await fetch(this.url, { method: "DELETE" });
  }
}

// The latest events about an object, as lines of a list.
export function eventsOf(app, kind, namespace, name) {
  const mine = [...app.collections.events.items.values()].filter(({ involvedObject: about }) => about?.kind === kind && about.name === name && (kind === "Node" || (about.namespace || "") === namespace));
  const when = (event) => event.lastTimestamp || event.eventTime || event.metadata.creationTimestamp;
  mine.sort((a, b) => String(when(b)).localeCompare(String(when(a))));
  if (!mine.length) return [h("li", {}, "none")];
  return mine.slice(0, 12).map((event) => h("li", { class: event.type === "Warning" ? "warning" : "" }, h("b", {}, event.reason), ` ${event.message} `, h("small", {}, age(when(event)))));
}

export function clean(object) {
  const copy = structuredClone(object);
  delete copy.metadata?.managedFields;
  // What kubectl apply keeps for itself: the whole manifest once more, in one line.
  delete copy.metadata?.annotations?.["kubectl.kubernetes.io/last-applied-configuration"];
  if (copy.metadata?.annotations && !Object.keys(copy.metadata.annotations).length) delete copy.metadata.annotations;
  return copy;
}

function plural(kind) {
  return kind === "ingress" ? "ingresses" : `${kind}s`;
}
