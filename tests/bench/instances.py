#!/usr/bin/python3
"""instances.sh: the load generator with one and with two coordinators on one PostgreSQL."""
import os, subprocess, sys

sys.path.insert(0, "tests/interop")
from postgres import Server

BUILD = os.environ.get("WG_MESH_BUILD", "build/release")


def main():
    options = [word for word in sys.argv[1:] if word.startswith("-")]
    sizes = [word for word in sys.argv[1:] if not word.startswith("-")] or ["100", "1000", "10000"]
    server, failed = Server(), 0
    try:
        os.environ["WG_MESH_TEST_POSTGRES_SERVER"] = server.url
        import meshclient
        for size in sizes:
            for instances in ("1", "2"):
                failed |= subprocess.run([BUILD + "/bench/load", *options, "--instances", instances, "--db",
                                          server.url + "/" + meshclient.new_database(),
                                          BUILD + "/wg-mesh-coordinator", size]).returncode
    finally:
        server.close()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
