#!/usr/bin/python3
"""Cases of postgres.sh. With words: only the cases whose name has one of them."""
import glob, os, pwd, shutil, socket, subprocess, sys, tempfile, time


class Server:
    """A PostgreSQL server; it will not run as root, so that it runs as the user that Debian makes for it."""

    def __init__(self):
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.bin = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = tempfile.mkdtemp(prefix="wg-mesh-postgres-test.")
        if os.geteuid() == 0:
            shutil.chown(self.dir, self.user)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = "postgres://%s@127.0.0.1:%d" % (self.user, self.port)
        self.run("initdb", "-D", self.dir + "/data", "-A", "trust", "-U", self.user)
        self.start()

    def run(self, program, *words):
        command = [self.bin + "/" + program, *words]
        if os.geteuid() == 0:
            command = ["runuser", "-u", self.user, "--", *command]
        with open(self.dir + "/out", "ab") as out:
            subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=60, check=True)

    def start(self):
        self.run("pg_ctl", "-D", self.dir + "/data", "-l", self.dir + "/log", "-w", "-o",
                 "-p %d -k %s -c listen_addresses=127.0.0.1 -c max_connections=200" % (self.port, self.dir), "start")

    def stop(self, mode="fast"):
        self.run("pg_ctl", "-D", self.dir + "/data", "-m", mode, "-w", "stop")

    def close(self):
        try:
            self.stop("immediate")
        except subprocess.CalledProcessError:
            pass
        shutil.rmtree(self.dir)


def run(label, *command):
    """A program that tells of its cases itself."""
    return subprocess.run(command, stdin=subprocess.DEVNULL).returncode


def main():
    server = Server()
    try:
        os.environ["WG_MESH_TEST_POSTGRES_SERVER"] = server.url
        import meshclient
        os.environ["WG_MESH_TEST_POSTGRES"] = server.url + "/" + meshclient.new_database()
        failed = 0
        if not sys.argv[1:] or "store" in sys.argv[1:]:
            failed |= run("store", "sh", "tests/unit/run.sh", "postgres", meshclient.BUILD + "/unit", "test_store")
        failed |= run("coordinator", "/usr/bin/python3", "tests/interop/coordinator.py", *sys.argv[1:])
        return 1 if failed else 0
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
