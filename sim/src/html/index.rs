//! The list of runs that `midstream view` begins with.

use super::campaign::escaped;

const STYLES: &str = include_str!("page/campaign.css");

/// The list: each run by its number, with a choice of another one to put beside it.
pub fn page(folder: &str, names: &[String]) -> String {
    let item = |(number, name): (usize, &String)| {
        format!("<tr><td><a href=\"/run/{number}\">{}</a></td></tr>\n", escaped(name))
    };
    let rows: String = names.iter().enumerate().map(item).collect();
    let option =
        |(number, name): (usize, &String)| format!("<option value=\"{number}\">{}</option>\n", escaped(name));
    let options: String = names.iter().enumerate().map(option).collect();
    let body = format!(
        "<h1>Runs in {folder}</h1>\n<table>\n{rows}</table>\n<h2>Two beside each other</h2>\n\
         <p><label>this one <select id=\"one\">{options}</select></label> \
         <label>and that one <select id=\"other\">{options}</select></label> <a id=\"both\" href=\"/\">show</a></p>\n\
         <script>\nconst link = () => {{ both.href = `/run/${{one.value}}/beside/${{other.value}}`; }};\n\
         one.onchange = other.onchange = link; link();\n</script>\n",
        folder = escaped(folder)
    );
    framed(&format!("runs in {folder}"), &body)
}

/// Why there is nothing to show.
pub fn refusal(why: &str) -> String {
    framed("nothing to show", &format!("<h1>{}</h1>\n<p><a href=\"/\">all runs</a></p>\n", escaped(why)))
}

fn framed(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLES}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_file_is_a_text_and_nothing_else() {
        let text = page("a<b", &["</table><script>".to_owned(), "1.json".to_owned()]);
        assert!(text.contains("<a href=\"/run/1\">1.json</a>"), "{text}");
        assert!(!text.contains("</table><script>") && text.contains("a&lt;b"), "{text}");
    }
}
