// Tables like kubectl's for every kind, live; YAML and events of one object; scale, delete and apply for who may edit.

import { button, h, say, words } from "./dom.js";
import { clean, eventsOf } from "./details.js";
import { toYaml } from "./yaml.js";

const DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const ROWS = 500;

// Every kind that can be listed and watched: {plural, kind, path, namespaced, scale}, by plural name.
export async function kinds() {
  const found = [];
  for (const root of ["/api", "/apis"]) {
    const answer = await fetch(root, { headers: { Accept: DISCOVERY } });
    if (!answer.ok) continue;
    for (const group of (await answer.json()).items || []) {
      const name = group.metadata?.name || "";
      const version = group.versions[0];
      for (const resource of version.resources || []) {
        if (!resource.verbs.includes("watch")) continue;
        const base = name ? `/apis/${name}/${version.version}` : `/api/${version.version}`;
        found.push({ plural: resource.resource, group: name, version: version.version, kind: resource.responseKind.kind, base, namespaced: resource.scope === "Namespaced", scale: (resource.subresources || []).some((sub) => sub.subresource === "scale") });
      }
    }
  }
  return found;
}

export class ObjectsView {
  constructor(app, view, plural, namespace, name) {
    Object.assign(this, { app, view, plural: plural || "pods", namespace, name });
    this.choice = h("select", { "aria-label": "Kind", onchange: () => { location.hash = `#/objects/${this.choice.value}`; } });
    this.table = h("table", {});
    this.count = h("p", { class: "hint" });
    this.side = h("aside", { class: "side", hidden: true });
    this.problem = h("p", { class: "problem", role: "alert" });
    view.replaceChildren(h("div", { class: "objects" }, h("div", {}, h("div", { class: "bar" }, h("label", { class: "field" }, "Kind", this.choice), this.count), this.problem, app.edit ? this.#apply() : null, h("div", { class: "scroll" }, this.table)), this.side));
    this.#start();
  }

  stop() {
    this.collection?.close();
  }

  update() {
    this.events?.replaceChildren(...eventsOf(this.app, this.kind.kind, this.namespace, this.name));
  }

  async #start() {
    this.kinds = await this.app.kinds();
    this.choice.replaceChildren(...this.kinds.map((kind) => h("option", { value: kind.plural, selected: kind.plural === this.plural }, kind.group ? `${kind.plural} (${kind.group})` : kind.plural)));
    this.kind = this.kinds.find((kind) => kind.plural === this.plural);
    if (!this.kind) {
      this.problem.textContent = `no kind ${this.plural} that can be watched`;
      return;
    }
    const where = this.kind.namespaced && this.app.namespace ? `/namespaces/${this.app.namespace}` : "";
    this.collection = this.app.live.follow(`${this.kind.base}${where}/${this.kind.plural}`, () => this.#soon(), "table");
    if (this.name) this.#open(this.namespace, this.name);
  }

  #soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const { columns, items, error } = this.collection;
    words(this.problem, error);
    const shown = columns.map((column, i) => [column, i]).filter(([column]) => !column.priority);
    const text = this.app.search.toLowerCase();
    const rows = [...items.entries()].filter(([key]) => key.toLowerCase().includes(text)).sort(([a], [b]) => a.localeCompare(b));
    words(this.count, `${rows.length} of ${items.size}`);
    const head = h("tr", {}, this.kind.namespaced ? h("th", {}, "Namespace") : null, shown.map(([column]) => h("th", { title: column.description }, column.name)));
    this.table.replaceChildren(h("thead", {}, head), h("tbody", {}, rows.slice(0, ROWS).map(([key, row]) => {
      const [namespace, name] = [key.slice(0, key.indexOf("/")), key.slice(key.indexOf("/") + 1)];
      const cells = shown.map(([column, i]) => h("td", {}, column.format === "name" || column.name === "Name" ? h("a", { href: `#/objects/${this.plural}/${namespace || "_"}/${name}` }, String(row.cells[i])) : String(row.cells[i] ?? "")));
      return h("tr", { class: this.name === name ? "chosen" : "" }, this.kind.namespaced ? h("td", {}, namespace) : null, cells);
    })));
    if (!rows.length) this.table.append(h("caption", {}, "none"));
  }

  #path(namespace, name) {
    return `${this.kind.base}${namespace && namespace !== "_" ? `/namespaces/${namespace}` : ""}/${this.kind.plural}/${name}`;
  }

  async #open(namespace, name) {
    const path = this.#path(namespace, name);
    const answer = await fetch(path, { headers: { Accept: "application/json" } });
    const object = await answer.json();
    this.side.hidden = false;
    if (!answer.ok) {
      this.side.replaceChildren(h("p", { class: "problem" }, object.message));
      return;
    }
    const close = h("a", { href: `#/objects/${this.plural}`, class: "close", "aria-label": "Close" }, "✕");
    this.side.replaceChildren(close, h("h2", {}, h("small", {}, this.kind.kind), ` ${name}`), ...(this.app.edit ? [this.#actions(path, object)] : []), h("pre", { class: "yaml", tabindex: "0", "aria-label": "YAML" }, toYaml(clean(object))), h("h3", {}, "Events"), this.events = h("ul", { class: "events" }));
    this.update();
  }

  #actions(path, object) {
    const parts = [button("Delete", async () => {
      if (!confirm(`Delete ${this.kind.kind} ${object.metadata.name}?`)) return;
      await this.#do(path, "DELETE");
      location.hash = `#/objects/${this.plural}`;
    }, { class: "danger" })];
    if (this.kind.scale) {
      const replicas = h("input", { type: "number", min: 0, max: 1000, value: object.spec?.replicas ?? 1, "aria-label": "Replicas" });
      parts.unshift(replicas, button("Scale", () => this.#do(`${path}/scale`, "PATCH", JSON.stringify({ spec: { replicas: Number(replicas.value) } }), "application/merge-patch+json")));
    }
    return h("div", { class: "actions" }, parts);
  }

  #apply() {
    const text = h("textarea", { rows: 10, "aria-label": "Manifests", spellcheck: "false", placeholder: "apiVersion: v1\nkind: ..." });
    return h("details", {}, h("summary", {}, "Apply YAML"), text, button("Apply", () => this.#applyAll(text.value), { class: "main" }));
  }

  async #applyAll(text) {
    this.problem.textContent = "";
    const answer = await fetch("/manifests", { method: "POST", body: text });
    if (!answer.ok) {
      this.problem.textContent = await answer.text();
      return;
    }
    for (const object of await answer.json()) {
      const { name, namespace } = object.metadata || {};
      const kind = this.kinds.find((each) => each.kind === object.kind && (each.group ? `${each.group}/${each.version}` : each.version) === object.apiVersion);
      if (!kind || !name) {
        this.problem.textContent = `cannot apply: ${kind ? "metadata.name is missing" : `no kind ${object.kind} in ${object.apiVersion}`}`;
        return;
      }
      const where = kind.namespaced ? `/namespaces/${namespace || this.app.namespace || "default"}` : "";
      if (!(await this.#do(`${kind.base}${where}/${kind.plural}/${name}?fieldManager=netpod-dashboard`, "PATCH", JSON.stringify(object), "application/apply-patch+yaml"))) return;
    }
  }

  async #do(path, method, body, type) {
    const answer = await fetch(path, { method, body, headers: type ? { "Content-Type": type } : {} });
    const data = await answer.json().catch(() => ({}));
    this.problem.textContent = answer.ok ? "" : data.message || answer.statusText;
    if (answer.ok && method === "PATCH" && this.name) this.#open(this.namespace, this.name);
    if (answer.ok) say(`${method === "DELETE" ? "deleted" : "applied"}: ${path.split("?")[0].split("/").at(-1)}`);
    return answer.ok;
  }
}
