// JSON values as YAML, for reading: block style, strings quoted where they would read as something else. YAML 1.2.

const PLAIN = /^[A-Za-z0-9_./][A-Za-z0-9_./@+-]*(?: [A-Za-z0-9_./@+(),-]+)*$/;
const MEANS = /^(?:true|false|null|yes|no|on|off|~|[-+]?[0-9][0-9_.,:eExa-fA-F+-]*|0[xo].*)$/i;

function scalar(value, indent) {
  if (typeof value !== "string") return JSON.stringify(value);
  if (value.includes("\n") && !/[\x00-\x08\x0b-\x1f]/.test(value)) {
    return `|${value.endsWith("\n") ? "" : "-"}\n${value.replace(/\n$/, "").split("\n").map((line) => (line ? indent + line : "")).join("\n")}`;
  }
  return PLAIN.test(value) && !MEANS.test(value) ? value : JSON.stringify(value);
}

export function toYaml(value, indent = "") {
  if (Array.isArray(value)) {
    if (!value.length) return "[]";
    return value.map((item) => `${indent}- ${nested(item, `${indent}  `).replace(/^\s+/, "")}`).join("\n");
  }
  if (value && typeof value === "object") {
    const entries = Object.entries(value);
    if (!entries.length) return "{}";
    return entries.map(([key, item]) => {
      const name = PLAIN.test(key) && !MEANS.test(key) ? key : JSON.stringify(key);
      const empty = item && typeof item === "object" && !Object.keys(item).length;
      if (item && typeof item === "object" && !empty) return `${indent}${name}:\n${toYaml(item, Array.isArray(item) ? indent : `${indent}  `)}`;
      return `${indent}${name}: ${nested(item, `${indent}  `)}`;
    }).join("\n");
  }
  return scalar(value, `${indent}  `);
}

function nested(item, indent) {
  return item && typeof item === "object" ? toYaml(item, indent) : scalar(item, indent);
}
