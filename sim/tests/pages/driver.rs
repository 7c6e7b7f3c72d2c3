//! A browser that is driven as a person drives it: Chromium by its own driver, which speaks WebDriver (W3C) over HTTP on this
//! machine. Keys go through the browser's input, not through events that a page makes itself.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An answer that takes longer will not come.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// What the driver's line with its port has before it.
const PORT: &str = "on port ";
/// Chromium in a container: nobody's screen, nobody's sandbox.
const ARGUMENTS: [&str; 4] = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];

/// A window, and the driver that has it.
pub struct Window {
    driver: Child,
    port: u16,
    session: String,
}

impl Window {
    /// A window of this size; `profile` is where the browser keeps its things.
    pub fn open(driver: &str, profile: &Path, size: (u32, u32)) -> Window {
        let mut command = Command::new(driver);
        let command =
            command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().expect("it was there before");
        let mut lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| port_of(&line));
        let mut window = Window { driver, port: port.expect("it says its port"), session: String::new() };
        let mut arguments: Vec<String> = ARGUMENTS.iter().map(ToString::to_string).collect();
        arguments.push(format!("--window-size={},{}", size.0, size.1));
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let options = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let opened = window.ask("POST", "/session", &json!({ "capabilities": { "alwaysMatch": options } }));
        window.session = opened["sessionId"].as_str().expect("a session").to_owned();
        window
    }

    /// Goes to an address, and waits until all of it is there.
    pub fn go_to(&self, address: &str) {
        self.of_session("POST", "url", &json!({ "url": address }));
    }

    /// Makes the window this wide and high.
    pub fn resize(&self, (width, height): (u32, u32)) {
        self.of_session("POST", "window/rect", &json!({ "width": width, "height": height }));
    }

    /// Presses and releases keys, one after the other.
    pub fn press(&self, keys: &[&str]) {
        let stroke = |key: &&str| {
            let value = code(key);
            [json!({ "type": "keyDown", "value": value }), json!({ "type": "keyUp", "value": value })]
        };
        let strokes: Vec<Value> = keys.iter().flat_map(stroke).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.of_session("POST", "actions", &json!({ "actions": [keyboard] }));
    }

    /// What an expression is in the page.
    pub fn read(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression};"), "args": [] });
        self.of_session("POST", "execute/sync", &script)
    }

    /// The text of an element.
    pub fn text(&self, selector: &str) -> String {
        let text = self.read(&format!("document.querySelector({})?.textContent ?? ''", json!(selector)));
        text.as_str().expect("a text").to_owned()
    }

    fn of_session(&self, method: &str, what: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}/{what}", self.session), body)
    }

    /// One request and its answer.
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.exchange(method, path, body).expect("the driver answers");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }

    /// The same as bytes, over a connection of its own.
    fn exchange(&self, method: &str, path: &str, body: &Value) -> io::Result<Vec<u8>> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = BufReader::new(stream);
        let (mut len, mut line) = (0, String::new());
        // An empty line ends the head.
        while answer.read_line(&mut line)? > 2 {
            if let Some(("content-length", count)) = line.to_ascii_lowercase().split_once(':') {
                len = count.trim().parse().map_err(io::Error::other)?;
            }
            line.clear();
        }
        let mut body = vec![0; len];
        answer.read_exact(&mut body)?;
        Ok(body)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // The browser goes with its session; the driver, which has nothing else, with its process. Whatever was to be shown
        // of either has been shown.
        let path = format!("/session/{}", self.session);
        let _answer = self.exchange("DELETE", &path, &Value::Null);
        let _ended_already = self.driver.kill();
        let _status = self.driver.wait();
    }
}

/// The port in a line such as `ChromeDriver was started successfully on port 33021.`
fn port_of(line: &str) -> Option<u16> {
    let number = line.split_once(PORT)?.1.trim_end_matches('.');
    line.contains("successfully").then(|| number.parse().ok())?
}

/// A key as WebDriver codes it: those with names have code points of their own.
fn code(key: &str) -> &str {
    match key {
        "Enter" => "\u{e007}",
        "Escape" => "\u{e00c}",
        "End" => "\u{e010}",
        "Home" => "\u{e011}",
        "ArrowLeft" => "\u{e012}",
        "ArrowRight" => "\u{e014}",
        letter => letter,
    }
}
