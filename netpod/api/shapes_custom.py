"""Shape of what a CustomResourceDefinition keeps as written: names, versions, schemas, subresources, columns.

Source: k8s.io/apiextensions-apiserver pkg/apis/apiextensions/v1/types.go, types_jsonschema.go.
"""

from netpod.api.shapes import ANY, BOOLEAN, INTEGER, NUMBER, STRING, Shape

NAMES: Shape = {
    "plural": STRING,
    "singular": STRING,
    "shortNames": [STRING],
    "kind": STRING,
    "listKind": STRING,
    "categories": [STRING],
}

SCHEMA: Shape = {}
# A schema holds schemas.
SCHEMA |= {
    "id": STRING,
    "$schema": STRING,
    "$ref": STRING,
    "description": STRING,
    "type": STRING,
    "format": STRING,
    "title": STRING,
    "maximum": NUMBER,
    "exclusiveMaximum": BOOLEAN,
    "minimum": NUMBER,
    "exclusiveMinimum": BOOLEAN,
    "maxLength": INTEGER,
    "minLength": INTEGER,
    "pattern": STRING,
    "maxItems": INTEGER,
    "minItems": INTEGER,
    "uniqueItems": BOOLEAN,
    "multipleOf": NUMBER,
    "enum": [ANY],
    "maxProperties": INTEGER,
    "minProperties": INTEGER,
    "required": [STRING],
    "allOf": [SCHEMA],
    "oneOf": [SCHEMA],
    "anyOf": [SCHEMA],
    "not": SCHEMA,
    "properties": {"*": SCHEMA},
    "patternProperties": {"*": SCHEMA},
    "definitions": {"*": SCHEMA},
    "nullable": BOOLEAN,
    "x-kubernetes-preserve-unknown-fields": BOOLEAN,
    "x-kubernetes-embedded-resource": BOOLEAN,
    "x-kubernetes-int-or-string": BOOLEAN,
    "x-kubernetes-list-map-keys": [STRING],
    "x-kubernetes-list-type": STRING,
    "x-kubernetes-map-type": STRING,
}

VERSIONS: Shape = [
    {
        "name": STRING,
        "served": BOOLEAN,
        "storage": BOOLEAN,
        "deprecated": BOOLEAN,
        "deprecationWarning": STRING,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": STRING,
                "statusReplicasPath": STRING,
                "labelSelectorPath": STRING,
            },
        },
        "additionalPrinterColumns": [
            {
                "name": STRING,
                "type": STRING,
                "format": STRING,
                "description": STRING,
                "priority": INTEGER,
                "jsonPath": STRING,
            }
        ],
    }
]

CONVERSION: Shape = {"strategy": STRING, "webhook": {}}
