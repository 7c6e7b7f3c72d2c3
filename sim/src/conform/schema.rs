//! One command out of the introspection, reduced to what its arguments are.

use serde_json::{Map, Value, json};

/// Arguments, return type and features of a command.
pub fn summary(schema: &[Value], command: &str) -> Value {
    let entity = |name: &Value| schema.iter().find(|entity| entity["name"] == *name);
    let Some(found) = entity(&json!(command)) else {
        return json!({"missing": command});
    };
    let members = entity(&found["arg-type"]).and_then(|arguments| arguments["members"].as_array());
    let arguments: Map<String, Value> = members
        .into_iter()
        .flatten()
        .map(|member| {
            let optional = member.get("default").is_some();
            let mut shown = json!({"type": type_text(schema, &member["type"]), "optional": optional});
            if let Some(features) = member.get("features") {
                shown["features"] = features.clone();
            }
            (member["name"].as_str().unwrap_or_default().to_owned(), shown)
        })
        .collect();
    let features = found.get("features").cloned().unwrap_or(json!([]));
    json!({"args": arguments, "ret": type_text(schema, &found["ret-type"]), "features": features})
}

fn type_text(schema: &[Value], name: &Value) -> String {
    let Some(entity) = schema.iter().find(|entity| entity["name"] == *name) else {
        return format!("unknown {name}");
    };
    match entity["meta-type"].as_str() {
        Some("builtin") => entity["name"].as_str().unwrap_or_default().to_owned(),
        Some("enum") => {
            let members = entity["members"].as_array().into_iter().flatten();
            let names: Vec<&str> = members.filter_map(|member| member["name"].as_str()).collect();
            format!("enum({})", names.join("|"))
        }
        // A list of lists of itself would have no end; the engine's own schema has none.
        Some("array") if entity["element-type"] != *name => {
            format!("[{}]", type_text(schema, &entity["element-type"]))
        }
        Some("alternate") => "alt".to_owned(),
        _ => "object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_with_its_arguments() {
        let schema = json!([
            {"name": "go", "meta-type": "command", "arg-type": "1", "ret-type": "[2]"},
            {"name": "1", "meta-type": "object", "members": [{"name": "far", "type": "int", "default": null}]},
            {"name": "[2]", "meta-type": "array", "element-type": "2"},
            {"name": "2", "meta-type": "enum", "members": [{"name": "a"}, {"name": "b"}]},
            {"name": "int", "meta-type": "builtin"}
        ]);
        let schema = schema.as_array().unwrap();
        let shown =
            json!({"args": {"far": {"type": "int", "optional": true}}, "ret": "[enum(a|b)]", "features": []});
        assert_eq!(summary(schema, "go"), shown);
        assert_eq!(summary(schema, "stop"), json!({"missing": "stop"}));
    }
}
