// What the pictures show, made from the API's objects: pure.

const PENDING = new Set(["Pending", "ContainerCreating", "PodInitializing", "Init", "Terminating"]);

export function podState(pod) {
  const status = pod.status || {};
  const ready = (status.conditions || []).some((c) => c.type === "Ready" && c.status === "True");
  const waiting = (status.containerStatuses || []).map((c) => c.state?.waiting?.reason).find(Boolean);
  let words = waiting || status.reason || status.phase || "Pending";
  if (pod.metadata.deletionTimestamp) words = "Terminating";
  if (words === "Running") words = ready ? "Ready" : "Not ready";
  let kind = "bad";
  if (words === "Ready" || words === "Succeeded") kind = "good";
  else if (words === "Not ready" || PENDING.has(words)) kind = "wait";
  return { words, kind };
}

export function nodeReady(node) {
  const condition = (node.status?.conditions || []).find((c) => c.type === "Ready");
  return condition?.status === "True";
}

export function nodeAddress(node) {
  return (node.status?.addresses || []).find((a) => a.type === "InternalIP")?.address || "";
}

// The short end of a pod's name: what tells it from its siblings.
export function shortName(name, length) {
  return name.length <= length ? name : `…${name.slice(1 - length)}`;
}

// A pod's name as a person tells it: what it belongs to, and the end that tells it from its siblings.
export function podName({ metadata }, length) {
  const owner = metadata.ownerReferences?.find((each) => each.controller);
  const base = owner?.kind === "ReplicaSet" ? owner.name.replace(/-[^-]+$/, "") : owner?.name;
  if (!base || !metadata.name.startsWith(`${base}-`)) return shortName(metadata.name, length);
  const end = metadata.name.split("-").at(-1);
  if (length < 9) return end;
  const room = length - end.length - 1;
  return `${base.length > room ? `${base.slice(0, room - 1)}…` : base} ${end}`;
}

function ingressServices(ingress) {
  const found = [];
  const backends = [ingress.spec?.defaultBackend];
  for (const rule of ingress.spec?.rules || []) for (const path of rule.http?.paths || []) backends.push(path.backend);
  for (const backend of backends) if (backend?.service?.name) found.push(`${ingress.metadata.namespace}/${backend.service.name}`);
  return [...new Set(found)];
}

export function build(collections, namespace) {
  const wanted = (o) => !namespace || o.metadata.namespace === namespace;
  const sorted = (name) => [...collections[name].items.values()].sort((a, b) => (order(a) < order(b) ? -1 : 1));
  const pods = sorted("pods").filter((p) => wanted(p) && !["Succeeded", "Failed"].includes(p.status?.phase));
  const nodes = sorted("nodes").sort((a, b) => rank(a) - rank(b));
  const endpoints = new Map();
  for (const slice of collections.slices.items.values()) {
    const service = slice.metadata.labels?.["kubernetes.io/service-name"];
    if (!service) continue;
    const key = `${slice.metadata.namespace}/${service}`;
    for (const endpoint of slice.endpoints || []) {
      const target = endpoint.targetRef;
      if (target?.kind !== "Pod") continue;
      if (!endpoints.has(key)) endpoints.set(key, new Map());
      endpoints.get(key).set(`${target.namespace}/${target.name}`, endpoint.conditions?.ready !== false);
    }
  }
  return {
    nodes,
    pods,
    endpoints,
    services: sorted("services").filter(wanted),
    ingresses: sorted("ingresses").filter(wanted).map((ingress) => ({ ingress, services: ingressServices(ingress) })),
  };
}

function order(object) {
  return `${object.metadata.namespace || ""}/${object.metadata.name}`;
}

function rank(node) {
  const number = Number(/\d+$/.exec(node.metadata.name)?.[0] || 1);
  return "node-role.kubernetes.io/control-plane" in (node.metadata.labels || {}) ? 0 : number;
}

export function keyOf(kind, object) {
  return `${kind}/${object.metadata.namespace || ""}/${object.metadata.name}`;
}
