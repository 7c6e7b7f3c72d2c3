# Plays the data of a script: starts the daemon on the images, does what was done, and ends with 1 if the defect shows.
import base64, json, os, re, shutil, socket, struct, subprocess, sys, tempfile, time, zlib

DAEMON = os.environ.get("QSD", "qemu-storage-daemon")
WAIT = 10


class Gone(Exception):
    pass


class Hung(Exception):
    pass


def tag_bytes(tag, sector):
    return struct.pack("<Q", tag | (sector + 1) if tag else 0) * 64


def tags(data):
    out = []
    for at in range(0, len(data) - 511, 512):
        part = data[at : at + 8]
        out.append(struct.unpack("<Q", part)[0] if data[at : at + 512] == part * 64 else -1)
    return out


class Monitor:
    def __init__(self, sock):
        self.sock, self.pending, self.past_the_end = sock, b"", []
        self.errors = []
        sock.settimeout(WAIT)

    def line(self):
        while b"\n" not in self.pending:
            try:
                more = self.sock.recv(65536)
            except TimeoutError:
                raise Hung("the monitor does not answer")
            except OSError:
                more = b""
            if not more:
                raise Gone()
            self.pending += more
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line) if line.strip() else self.line()

    def execute(self, text):
        try:
            self.sock.sendall(text.replace('"/', '"' + FOLDER + "/").encode() + b"\r\n")
        except OSError:
            raise Gone()
        while True:
            message = self.line()
            if "event" not in message:
                return message
            if message["event"] == "BLOCK_JOB_ERROR" or "error" in message.get("data", {}):
                self.errors.append(message)

    def settle(self):
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            jobs = self.execute('{"execute":"query-block-jobs"}').get("return", [])
            self.past_the_end += [job for job in jobs if job["offset"] > job["len"]]
            works = any(j["status"] in ("running", "paused", "ready", "standby") for j in jobs)
            busy = lambda j: j["status"] in ("aborting", "created") or j["status"] == "waiting" and not works or (
                j["busy"] and j["status"] in ("running", "ready"))
            if not any(busy(job) for job in jobs):
                return
            time.sleep(0 if DEFECT == "progress" else 0.002)
        raise Hung("a job is busy without end")


class Guest:
    def __init__(self, export):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT)
        self.sock.connect(FOLDER + "/nbd.sock")
        self.take(18)
        name = export.encode()
        body = struct.pack(">I", len(name)) + name + b"\0\0"
        self.sock.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 7, len(body)) + body)
        while True:
            _, _, kind, size = struct.unpack(">QIII", self.take(20))
            self.take(size)
            if kind == 1:
                return
            if kind & 0x80000000:
                raise SystemExit("export %s refused: %#x" % (export, kind))

    def take(self, size):
        data = b""
        while len(data) < size:
            try:
                more = self.sock.recv(size - len(data))
            except TimeoutError:
                raise Hung("a guest's request does not end")
            except OSError:
                more = b""
            if not more:
                raise Gone()
            data += more
        return data

    def ask(self, command, sector, count, data=b""):
        self.asked = command, sector, count
        offset, size = sector * 512, count * 512
        self.sock.sendall(struct.pack(">IHHQQI", 0x25609513, 0, command, 1, offset, size) + data)

    def answer(self):
        """What a read has read, by sector; None for any other request."""
        command, sector, count = self.asked
        _, error, _ = struct.unpack(">IIQ", self.take(16))
        data = self.take(count * 512) if command == 0 and not error else b""
        return {sector + i: value for i, value in enumerate(tags(data))} if command == 0 else None


def show(value, sector):
    """Who wrote it: request g1.0.3 (guest, lane, request), or n2 if it was in layer 2 at first."""
    if value in (0, -1):
        return "garbage" if value else "zeroes"
    high, there = value >> 32, (value & 0xFFFFFFFF) - 1
    name = "g%d.%d.%d" % (high >> 16 & 0x7FFF, high >> 8 & 0xFF, high & 0xFF) if value >> 63 else "n%d" % (high - 1)
    return name if there == sector else "%s of sector %d" % (name, there)


def plain(reply):
    """What a reply reports, without what differs from run to run: folders, generated names, sizes of files."""
    reported = reply.get("return")
    named = lambda name: "#" if name.startswith("#") else name
    if isinstance(reported, dict) and "edges" in reported:
        names = {node["id"]: (node["type"], named(node["name"])) for node in reported["nodes"]}
        return sorted(
            [names[e["parent"]], names[e["child"]], e["name"], sorted(e["perm"]), sorted(e["shared-perm"])]
            for e in reported["edges"])
    if isinstance(reported, list) and reported and "node-name" in reported[0]:
        last = lambda name: name and name.rsplit("/", 1)[-1]
        return sorted([named(n["node-name"]), n["drv"], n["ro"], last(n.get("backing_file", ""))] for n in reported)
    return re.sub("#block[0-9]+", "#", json.dumps(reply, sort_keys=True).replace(FOLDER, ""))


def placed(data):
    """An image whose header names its backing file by its full path, if there is room for that."""
    if data[:4] != b"QFI\xfb":
        return data
    start, size, bits = struct.unpack(">QII", data[8:24])
    name = FOLDER.encode() + b"/" + data[start:start + size]
    end = start + len(name)
    if start == 0 or end > 1 << bits or any(data[start + size:end]):
        return data
    return data[:8] + struct.pack(">QI", start, len(name)) + data[20:start] + name + data[end:]


def play():
    global FOLDER
    for name, packed in IMAGES.items():
        with open(FOLDER + name, "wb") as file:
            file.write(placed(zlib.decompress(base64.b64decode(packed))))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(FOLDER + "/qmp.sock")
    listener.listen(1)
    listener.settimeout(WAIT)
    daemon = subprocess.Popen(
        [DAEMON, "--chardev", "socket,id=m,path=" + FOLDER + "/qmp.sock", "--monitor", "chardev=m",
         "--nbd-server", "addr.type=unix,addr.path=" + FOLDER + "/nbd.sock,max-connections=64"],
        cwd=FOLDER, stdin=subprocess.DEVNULL)
    guests, values, reply = {}, None, None
    try:
        monitor = Monitor(listener.accept()[0])
        monitor.line()
        monitor.execute('{"execute":"qmp_capabilities"}')
        for action in ACTIONS:
            what = action[0]
            if what == "qmp":
                print("->", action[1])
                reply = monitor.execute(action[1])
                print("<-", json.dumps(reply).replace(FOLDER, "")[:2000])
            elif what == "settle":
                monitor.settle()
            elif what == "connect":
                guests[action[1]] = Guest(action[2])
            elif what == "answered":
                read = guests[action[1]].answer()
                values = values if read is None else read
            elif what == "leave":
                guests.pop(action[1]).sock.close()
            elif what == "kill":
                print("kill -9")
                daemon.kill()
                daemon.wait()
            elif what == "quit":
                monitor.execute('{"execute":"quit"}')
                daemon.wait(WAIT)
            elif what == "reopened" and DEFECT == "corrupt":
                check = subprocess.run(["qemu-img", "check", "-f", action[2], "--output=json", FOLDER + action[1]],
                                       stdout=subprocess.PIPE)
                values = json.loads(check.stdout)
                print("qemu-img check: %d corruptions" % values.get("corruptions", 0))
            elif what == "reopened":
                raw = FOLDER + "/reopened.raw"
                subprocess.run(["qemu-img", "convert", "-f", action[2], "-O", "raw", FOLDER + action[1], raw],
                               check=True)
                with open(raw, "rb") as file:
                    values = tags(file.read())
            else:
                _, guest, command, sector, count, tag, in_flight = action
                data = b"".join(tag_bytes(tag, at) for at in range(sector, sector + count)) if command == 1 else b""
                print("guest %d: %s of %d sectors at %d%s" % (
                    guest, what, count, sector, ", in flight while the next thing is done" if in_flight else ""))
                guests[guest].ask(command, sector, count, data)
                if not in_flight:
                    read = guests[guest].answer()
                    values = values if read is None else read
    except Gone:
        status = daemon.wait(WAIT)
        print("the daemon ended by itself with status %d" % status)
        return DEFECT == "crash" and status < 0
    except Hung as hung:
        print(hung)
        return DEFECT == "hang"
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()
    if DEFECT == "corrupt":
        return values.get("corruptions", 0) > 0
    if DEFECT == "sector":
        value = values[SECTOR]
        found = show(value, SECTOR)
        print("sector %d: expected %s, found %s" % (SECTOR, " or ".join(EXPECTED), found))
        return found not in EXPECTED
    if DEFECT == "length":
        print("%d sectors, expected %d" % (len(values), SECTORS))
        return len(values) < SECTORS
    if DEFECT == "progress":
        print("\n".join("past the end: %s" % json.dumps(job) for job in monitor.past_the_end[:3]))
        return bool(monitor.past_the_end)
    if DEFECT == "job error":
        print("\n".join(json.dumps(message) for message in monitor.errors[:3]))
        return bool(monitor.errors)
    if DEFECT == "reply":
        reported, untrue = plain(reply), plain(json.loads(UNTRUE))
        if reported == untrue:
            print("reported and untrue: %s" % reported)
        elif isinstance(reported, list) and isinstance(untrue, list):
            print("reported:     %s" % [entry for entry in reported if entry not in untrue])
            print("not reported: %s" % [entry for entry in untrue if entry not in reported])
        else:
            print("reported:     %s\nnot reported: %s" % (reported, untrue))
        return reported == untrue
    return False


# What depends on timing is tried again and again, but not for much longer than a minute and a half.
shown, end = False, time.monotonic() + 100
for _ in range(TRIES):
    FOLDER = os.path.abspath(tempfile.mkdtemp(prefix="defect", dir="."))
    try:
        shown = play()
    finally:
        shutil.rmtree(FOLDER)
    if shown or time.monotonic() > end:
        break
print()
print(DETAIL)
print("the defect shows" if shown else "the defect does not show")
sys.exit(1 if shown else 0)
