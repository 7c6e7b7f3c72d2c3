//! Warnings: what went wrong and no client asked for.

use seam::Host;

/// Those who watch over storage daemons know their warnings by how they begin, and this one stands in for it.
const WARNS_AS: &str = "qemu-storage-daemon";

/// Reports to whoever runs the program something that went wrong.
pub(crate) fn warn(host: &dyn Host, text: &str) {
    host.report(&format!("{WARNS_AS}: {text}"));
}
