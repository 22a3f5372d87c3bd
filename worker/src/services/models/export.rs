//! What in a graph keeps it from being run here, and the export that mends it.

use nightread_engine::{Activation, GraphFacts, Head, Port, Side};

/// The activations that a manifest names, as operators: a graph that ends in one gives probabilities.
const ACTIVATIONS: [&str; 2] = ["Sigmoid", "Softmax"];

/// Everything in the graph that no manifest can make good, each with what is to be done.
pub(super) fn faults(facts: &GraphFacts) -> Vec<String> {
    let mut found = Vec::new();
    match facts.inputs.as_slice() {
        [one] => input_faults(one, &mut found),
        several => {
            let names: Vec<_> = several.iter().map(|input| input.name.as_str()).collect();
            found.push(format!(
                "the graph has {} inputs ({}), and a network here has one: wrap the module in one whose forward takes one tensor",
                several.len(),
                names.join(", ")
            ));
        }
    }
    if facts.outputs.is_empty() {
        found.push("the graph has no output".to_owned());
    }
    for output in &facts.outputs {
        if output.element.is_float32() {
            if let Some(sides) = &output.sides {
                batch_faults("output", &output.name, sides, &mut found);
            }
        } else {
            found.push(format!(
                "output {:?} holds {}, not float32: give back the logits, before argmax or casts",
                output.name, output.element
            ));
        }
    }
    found
}

fn input_faults(input: &Port, found: &mut Vec<String>) {
    let name = &input.name;
    if !input.element.is_float32() {
        found.push(format!(
            "input {name:?} holds {}, not float32: export model.float() with a float32 example; scaling of bytes is a step of the manifest",
            input.element
        ));
    }
    let Some(sides) = &input.sides else {
        found.push(format!("input {name:?} has no stated shape: export with an example of the true size"));
        return;
    };
    if !(4..=5).contains(&sides.len()) {
        found.push(format!(
            "input {name:?} has {} axes: an image has four (batch, channels, height, width), a volume five",
            sides.len()
        ));
        return;
    }
    batch_faults("input", name, sides, found);
}

/// A patch of a volume is run one at a time; anything else in batches.
fn batch_faults(kind: &str, name: &str, sides: &[Side], found: &mut Vec<String>) {
    if let (Some(Side::Fixed(count)), true) = (sides.first(), sides.len() < 5) {
        found.push(format!(
            "{kind} {name:?} has its batch dimension fixed at {count}: name axis 0 in dynamic_axes"
        ));
    }
}

/// An output that is a probability already: the manifest's activation would be applied a second time, without a word.
pub(super) fn activated(facts: &GraphFacts, head: &Head) -> Option<String> {
    if head.activation == Activation::None {
        return None;
    }
    let output = &head.logits;
    let port = facts.outputs.iter().find(|port| port.name == *output)?;
    let operator = port.operator.as_deref().filter(|operator| ACTIVATIONS.contains(operator))?;
    // Grades have no other activation: it takes one number more to give their own probabilities.
    let otherwise = if head.activation.is_ordinal() { "" } else { "say activation = \"none\", or " };
    Some(format!(
        "output {output:?} comes out of {operator}, so it is a probability already, and the manifest's activation would be applied to it once more: {otherwise}export what goes into it"
    ))
}

/// The call that exports such a network as it is wanted here.
pub(super) fn call(facts: &GraphFacts) -> String {
    let input = facts.inputs.first();
    let name = input.map_or("image", |input| input.name.as_str());
    let sides = input.and_then(|input| input.sides.as_deref()).unwrap_or_default();
    let example: Vec<_> = sides.iter().skip(1).map(length).collect();
    let example = if example.is_empty() { "1, 224, 224".to_owned() } else { example.join(", ") };
    let outputs: Vec<_> = facts.outputs.iter().map(|output| format!("\"{}\"", output.name)).collect();
    let is_volume = sides.len() == 5;
    let axes = std::iter::once(format!("\"{name}\"")).chain(outputs.iter().cloned());
    let axes: Vec<_> = axes.map(|name| format!("{name}: {{0: \"batch\"}}")).collect();
    let dynamic =
        if is_volume { String::new() } else { format!("\n    dynamic_axes={{{}}},", axes.join(", ")) };
    format!(
        "torch.onnx.export(\n    model.eval().float(), torch.zeros(1, {example}), \"model.onnx\",\n    \
         input_names=[\"{name}\"], output_names=[{}],{dynamic}\n    opset_version=17, dynamo=False,\n)",
        outputs.join(", ")
    )
}

fn length(side: &Side) -> String {
    match side {
        Side::Fixed(length) => length.to_string(),
        Side::Open(_) => "224".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nightread_engine::{Calibration, Element};

    use super::*;

    type Harm = fn(&mut GraphFacts);

    fn port(name: &str, element: i32, sides: &[Side]) -> Port {
        Port {
            name: name.to_owned(),
            element: Element(element),
            sides: Some(sides.to_vec()),
            operator: Some("Gemm".to_owned()),
        }
    }

    fn head(activation: Activation) -> Head {
        let logits = "logits".to_owned();
        Head { logits, activation, calibration: Calibration::None, grade: None, cam: None }
    }

    fn open() -> Side {
        Side::Open("batch".to_owned())
    }

    fn sound() -> GraphFacts {
        let fixed = [1, 224, 224].map(Side::Fixed);
        let sides: Vec<_> = std::iter::once(open()).chain(fixed).collect();
        GraphFacts {
            producer: String::new(),
            opset: 17,
            inputs: vec![port("image", 1, &sides)],
            outputs: vec![port("logits", 1, &[open(), Side::Fixed(14)])],
            data_files: BTreeSet::new(),
            sha256: String::new(),
        }
    }

    #[test]
    fn each_fault_of_a_graph_is_named_with_what_mends_it() {
        assert_eq!(faults(&sound()), Vec::<String>::new());
        assert_eq!(activated(&sound(), &head(Activation::Sigmoid)), None);
        let cases: [(Harm, &str); 9] = [
            (|facts| facts.inputs.push(facts.inputs[0].clone()), "2 inputs"),
            (|facts| facts.inputs.clear(), "0 inputs"),
            (|facts| facts.inputs[0].element = Element(10), "holds float16"),
            (|facts| facts.inputs[0].sides = None, "no stated shape"),
            (|facts| facts.inputs[0].sides = Some(vec![open()]), "1 axes"),
            (
                |facts| facts.inputs[0].sides.as_mut().unwrap()[0] = Side::Fixed(1),
                "input \"image\" has its batch",
            ),
            (
                |facts| facts.outputs[0].sides.as_mut().unwrap()[0] = Side::Fixed(1),
                "output \"logits\" has its batch",
            ),
            (|facts| facts.outputs[0].element = Element(7), "holds int64"),
            (|facts| facts.outputs.clear(), "no output"),
        ];
        for (harm, words) in cases {
            let mut facts = sound();
            harm(&mut facts);
            let found = faults(&facts);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
        let mut volume = sound();
        volume.inputs[0].sides = Some([1, 1, 96, 96, 96].map(Side::Fixed).to_vec());
        volume.outputs[0].sides = Some([1, 5, 96, 96, 96].map(Side::Fixed).to_vec());
        assert_eq!(faults(&volume), Vec::<String>::new(), "a patch is run one at a time");
        assert!(!call(&volume).contains("dynamic_axes"));
        let mut activated_twice = sound();
        activated_twice.outputs[0].operator = Some("Sigmoid".to_owned());
        assert_eq!(activated(&activated_twice, &head(Activation::None)), None);
        let told = activated(&activated_twice, &head(Activation::Sigmoid)).unwrap();
        assert!(told.contains("once more: say activation"), "{told}");
        let told = activated(&activated_twice, &head(Activation::OrdinalCoral)).unwrap();
        assert!(told.contains("once more: export what goes into it"), "{told}");
        let call = call(&sound());
        assert!(
            call.contains("torch.zeros(1, 1, 224, 224)") && call.contains("\"logits\": {0: \"batch\"}"),
            "{call}"
        );
    }
}
