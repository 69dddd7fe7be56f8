#!/usr/bin/python3
"""limited.py SECONDS COMMAND... - runs a command, and ends what it leaves running. What has not ended after
SECONDS hangs: its processes are told of, with where each of them waits; then all of them end, exit code 124."""
import ctypes, glob, os, signal, subprocess, sys, time

PR_SET_CHILD_SUBREAPER = 36  # whoever loses its parent, daemons too, becomes a child of ours
STACKS = 8  # of so many programs of ours the stacks are told


class Over(Exception):
    pass


def over(number, frame):
    raise Over(number)


def field(pid, name):
    try:
        with open("/proc/%d/%s" % (pid, name), "rb") as f:
            return f.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:  # it has ended, or we may not know
        return ""


def descendants():
    """Everybody below us as (pid, depth), parents before their children; who has ended and waits for its parent does not count."""
    children, found = {}, []
    for path in glob.glob("/proc/[0-9]*/stat"):
        pid = int(path.split("/")[2])
        state, parent = (field(pid, "stat").rpartition(")")[2].split() + ["", "0"])[:2]
        if state not in ("", "Z", "X"):
            children.setdefault(int(parent), []).append(pid)
    waiting = [(pid, 0) for pid in children.get(os.getpid(), [])]
    while waiting:
        pid, depth = waiting.pop()
        found.append((pid, depth))
        waiting += [(child, depth + 1) for child in children.get(pid, [])]
    return found


def told():
    """Who waits where; of programs built here the stacks, where there is a gdb."""
    ours = []
    for pid, depth in descendants():
        state = field(pid, "stat").rpartition(")")[2].split()
        print("# %s%d %s in %s: %s" % ("  " * depth, pid, state[0] if state else "?", field(pid, "wchan") or "?",
                                       field(pid, "cmdline")[:300]))
        try:
            if os.readlink("/proc/%d/exe" % pid).startswith(os.getcwd() + "/"):
                ours.append(pid)
        except OSError:
            pass
    for pid in ours[:STACKS]:
        print("# stacks of %d:" % pid)
        try:
            stacks = subprocess.run(["gdb", "-batch", "-p", str(pid), "-ex", "thread apply all backtrace 30"], text=True, errors="replace",
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30)
        except (OSError, subprocess.TimeoutExpired) as e:
            print("#   %s" % e)
            break
        print("".join("#   %s\n" % line[:200] for line in stacks.stdout.splitlines() if line.startswith(("#", "Thread"))), end="")
    sys.stdout.flush()


def end_all(patience):
    """SIGTERM, with time for what tidies up; then SIGKILL, until nobody is left."""
    until = time.monotonic() + patience
    number = signal.SIGTERM
    while left := descendants():
        for pid, _ in left:
            try:
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # what was stopped cannot end
            except ProcessLookupError:
                pass
        number = 0
        time.sleep(0.1)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        if time.monotonic() > until:
            number = signal.SIGKILL


def main():
    if len(sys.argv) < 3 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, over)
    try:
        command = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as e:
        sys.exit("%s: %s" % (sys.argv[2], e.strerror))
    signal.alarm(int(sys.argv[1]))
    try:
        pid = 0
        while pid != command:
            pid, status = os.waitpid(-1, 0)
        signal.alarm(0)
        code = os.waitstatus_to_exitcode(status)
        code = 128 - code if code < 0 else code
    except Over as e:
        for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        code = 130
        if e.args[0] == signal.SIGALRM:
            print("# has not ended after %s s:" % sys.argv[1])
            told()
            code = 124
    end_all(20)
    sys.exit(code)


if __name__ == "__main__":
    main()
