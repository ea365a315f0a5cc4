// The page: live collections, the view that the address names, namespace and search.

import { h, say, words } from "./dom.js";
import { Details } from "./details.js";
import { Live } from "./live.js";
import { build, keyOf } from "./model.js";
import { ObjectsView, kinds } from "./objects.js";
import { PacketView } from "./packet.js";
import { RulesView } from "./rules.js";
import { Topology } from "./topology.js";

const FOLLOWED = {
  nodes: "/api/v1/nodes",
  pods: "/api/v1/pods",
  services: "/api/v1/services",
  slices: "/apis/discovery.k8s.io/v1/endpointslices",
  ingresses: "/apis/networking.k8s.io/v1/ingresses",
  events: "/api/v1/events",
  namespaces: "/api/v1/namespaces",
};
const CONNECTION = { live: "live", connecting: "connecting…", lost: "connection lost, trying again…", waiting: "the API server is down, waiting…" };
const SUGGESTED = 300;
const view = document.getElementById("view");

class App {
  constructor({ cluster, edit }) {
    Object.assign(this, { cluster, edit, namespace: "", search: "" });
    words(document.getElementById("cluster"), cluster);
    document.title = `netpod: ${cluster}`;
    this.live = new Live((state) => this.#connection(state));
    this.collections = {};
    this.loaded = new Promise((resolve) => { this.ready = resolve; });
    for (const [name, path] of Object.entries(FOLLOWED)) this.collections[name] = this.live.follow(path, () => this.#changed(name));
    addEventListener("hashchange", () => this.#route());
    const namespace = document.getElementById("namespace");
    namespace.addEventListener("change", () => {
      this.namespace = namespace.value;
      this.built = null;
      this.#route();
    });
    const search = document.getElementById("search");
    search.addEventListener("focus", () => this.suggest("search"));
    search.addEventListener("input", () => this.#find(search.value));
    this.#route();
  }

  model() {
    this.built ||= build(this.collections, this.namespace);
    return this.built;
  }

  kinds() {
    this.known ||= kinds();
    return this.known;
  }

  // Fill the packet form with a source when it is opened next.
  ask(source) {
    this.source = source;
  }

  #connection(state) {
    const place = document.getElementById("connection");
    words(place, CONNECTION[state]);
    place.className = state;
  }

  #changed(name) {
    this.built = null;
    if (name === "namespaces") this.#namespaces();
    if (["nodes", "pods", "services", "slices", "ingresses"].every((each) => this.collections[each].loaded)) this.ready();
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.topology?.show(this.model());
      this.side?.update?.();
    });
  }

  #namespaces() {
    const select = document.getElementById("namespace");
    const names = [...this.collections.namespaces.items.values()].map((ns) => ns.metadata.name).sort();
    if (names.join() === this.names) return;
    this.names = names.join();
    select.replaceChildren(h("option", { value: "" }, "all"), ...names.map((name) => h("option", { selected: name === this.namespace }, name)));
  }

  suggest(what) {
    const model = this.model();
    const prefix = what === "trace";
    const names = [
      ...(prefix ? ["outside", "http://example.com/"] : []),
      ...model.services.map(({ metadata: m }) => (prefix ? `svc/${m.name}` : `service/${m.namespace}/${m.name}`)),
      ...model.pods.map(({ metadata: m, status }) => (prefix ? `pod/${m.namespace}/${m.name}` : `pod/${m.namespace}/${m.name} ${status?.podIP || ""}`)),
      ...model.nodes.map(({ metadata: m }) => (prefix ? `node/${m.name}` : `node//${m.name}`)),
    ];
    document.getElementById("found").replaceChildren(...names.slice(0, SUGGESTED).map((value) => h("option", { value })));
  }

  #find(text) {
    this.search = text.trim();
    if (!this.search) return;
    const [key] = this.search.split(" ");
    const model = this.model();
    const all = [
      ...model.pods.map((pod) => [keyOf("pod", pod), `${keyOf("pod", pod)} ${pod.status?.podIP || ""}`]),
      ...model.services.map((service) => [keyOf("service", service), `${keyOf("service", service)} ${service.spec.clusterIP}`]),
      ...model.nodes.map((node) => [keyOf("node", node), keyOf("node", node)]),
      ...model.ingresses.map(({ ingress }) => [keyOf("ingress", ingress), keyOf("ingress", ingress)]),
    ];
    const found = all.find(([each]) => each === key) || all.find(([, words]) => words.includes(this.search));
    if (found && this.topology && !this.packet) this.#choose(found[0]);
    else if (!found) say("nothing found");
  }

  #route() {
    const [, name = "topology", ...rest] = location.hash.split("/").map(decodeURIComponent);
    for (const tab of document.querySelectorAll("#tabs a")) {
      const here = tab.hash === `#/${name}`;
      if (here) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    this.side?.stop?.();
    this.side = null;
    const pictured = name === "topology" || name === "packet";
    if (!pictured || !this.topology) {
      this.topology?.stop();
      this.topology = null;
      if (pictured) this.#picture();
    }
    this.packet = name === "packet";
    if (name === "packet") {
      this.side = new PacketView(this, this.topology, this.panel, rest[0]);
      if (this.source) this.panel.querySelector("#from").value = this.source;
      this.source = "";
    } else if (name === "rules") this.side = new RulesView(this, view, rest[0], rest[1]);
    else if (name === "objects") this.side = new ObjectsView(this, view, ...rest);
    else if (rest.length === 3) this.#choose(rest.join("/"), true);
    else this.#legend();
    this.topology?.show(this.model());
  }

  #picture() {
    const picture = h("div", { class: "picture" });
    this.panel = h("aside", { class: "panel", "aria-label": "Details" });
    view.replaceChildren(h("div", { class: "split" }, picture, this.panel));
    this.topology = new Topology(picture, (key) => this.#choose(key));
  }

  #choose(key, routed = false) {
    if (this.packet) return;
    if (!routed) history.replaceState(null, "", `#/topology/${key.split("/").length === 3 ? key : ""}`);
    this.side?.stop?.();
    this.topology.select(key);
    this.side = new Details(this, this.panel, key);
  }

  #legend() {
    this.topology.select("");
    const row = (kind, text) => h("li", {}, h("span", { class: `swatch ${kind}` }), text);
    this.panel.replaceChildren(
      h("h2", {}, "What you see"),
      h("p", {}, "A real network on this machine: every box is a network namespace, every line a veth pair or a bridge. Choose a box to look inside; point at a Service or an Ingress to see where it leads."),
      h("ul", { class: "legend" }, row("good", "ready"), row("wait", "starting, not ready, ending"), row("bad", "failing, or nothing behind it")),
      h("p", {}, h("a", { href: "#/packet", class: "call" }, "Watch a packet go through it →")));
  }
}

const answer = await fetch("/session").catch(() => null);
if (answer?.ok) globalThis.netpod = new App(await answer.json());
else view.append(h("p", { class: "problem" }, answer ? await answer.text() : "the dashboard does not answer"));
