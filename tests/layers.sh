#!/bin/sh
# layers.sh [ROOT] - the layer table of the house, enforced: an include may only point down.
# Prints FILE:LINE and a sentence for each include that points up or sideways, for each cycle, and
# for each file of core/lib that has no layer; then fails. Without ROOT it first tests itself on a
# tree with deliberately bad files.
#
#   7  programs  core/main.c core/cli/ coordinator/main.c relay/main.c
#   6  siblings  core/ | coordinator/ | relay/: never include each other
#   5  plugins   plugin.h and core/lib 1 to 3 only, not each other
#   1-4 core/lib by the names below, of a .c and .h alike; NAME_PART.c counts as NAME
#   0  plugin.h  libc only
#
# The coordinator has folders; those named below see no others of it.
#
# Besides: only agent*.c, main.c and supervise know the agent, its parts do not; each library has the
# files that may see it; and an include says its name, so that this can be told.
set -eu

base='util banned buf list map str secret log clock ratelimit file'
values='key addr prefix seal'
codecs='wire http ws stun natcheck derp proto json yaml schema'
io='loop sock stream tls proc daemon'

# LIBRARY-HEADER FILE...: who may include it; a library that is not here is known nowhere in the house.
libraries='
openssl/   core/lib/tls.c coordinator/pin.c
curl/      core/fetch_transfer.h
libmnl/    core/netlink.h
wslay/     core/lib/ws.c
yaml.h     core/lib/yaml.c
ev.h       core/lib/loop.h
sqlite3.h  coordinator/store/store_sqlite.c
libpq-fe.h coordinator/store/store_postgres.h coordinator/cluster/bus.c
jwt.h      coordinator/access/token.c
qrencode.h coordinator/cli/cli_device.c
jansson.h  *
sodium.h   *
'

# FOLDER FILE-OR-FOLDER...: all that the files of a folder of the coordinator may see of the coordinator.
# What points up, or both ways:
#   mesh -> sync, enforce, cluster    a change is told to agents and other coordinators, and the policy in
#                                     force says which class a member is of: by the functions of these headers alone
#   mesh -> access/users.h            a join key has its maker, whose tags it gives, and that counts once it is used
#   access -> sync/events.h           a token that ends, ends who listens by it
#   sync -> enforce, cluster          whom a member may see, and whether what was refused is being set right
#   sync -> api/conn.h                a stream begins as a request;
#           api/api.h                 its frames are held to the limits of requests, and a heartbeat is one
#   sync -> access/who.h, admin/admin_commands.h   events: who may hear them, and an agent as administrators see it
#   cluster -> embedded.h             a beat names the relay beside the coordinator
folders='
coordinator/policy/
coordinator/store/   coordinator/histogram.h
coordinator/access/  coordinator/store/ coordinator/mesh/ coordinator/sync/events.h coordinator/coordinator.h
coordinator/cli/     coordinator/policy/ coordinator/config.h coordinator/args.h coordinator/backup.h
coordinator/mesh/    coordinator/policy/ coordinator/store/ coordinator/coordinator.h coordinator/remedy.h coordinator/sync/sync.h coordinator/sync/events.h coordinator/enforce/policy_state.h coordinator/cluster/cluster.h coordinator/access/users.h
coordinator/enforce/ coordinator/policy/ coordinator/store/ coordinator/coordinator.h coordinator/remedy.h coordinator/mesh/ coordinator/access/find.h coordinator/sync/sync.h
coordinator/sync/    coordinator/store/ coordinator/coordinator.h coordinator/mesh/ coordinator/enforce/policy_state.h coordinator/cluster/cluster.h coordinator/access/who.h coordinator/api/conn.h coordinator/api/api.h coordinator/admin/admin_commands.h
coordinator/cluster/ coordinator/store/ coordinator/coordinator.h coordinator/mesh/ coordinator/access/ coordinator/enforce/policy_state.h coordinator/sync/ coordinator/embedded.h
coordinator/admin/   coordinator/policy/ coordinator/store/ coordinator/coordinator.h coordinator/remedy.h coordinator/mesh/ coordinator/access/ coordinator/enforce/policy_state.h coordinator/sync/events.h coordinator/cluster/cluster.h
coordinator/api/     coordinator/store/ coordinator/coordinator.h coordinator/remedy.h coordinator/mesh/ coordinator/access/ coordinator/sync/ coordinator/cluster/ coordinator/admin/ coordinator/web/
'

check() {
	cd "$1"
	dirs=
	for dir in core coordinator relay plugins; do
		[ ! -d "$dir" ] || dirs="$dirs $dir"
	done
	# shellcheck disable=SC2086
	find $dirs -type f \( -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' \) |
		sort > "$list"
	# shellcheck disable=SC2046,SC2016 # our paths have no blanks; the program is awk's
	awk -v base="$base" -v values="$values" -v codecs="$codecs" -v io="$io" \
		-v libraries="$(printf '%s' "$libraries" | tr '\n' ';')" \
		-v folders="$(printf '%s' "$folders" | tr '\n' ';')" '
	function layer_names(level, names,    part, count, i) {
		count = split(names, part, " ")
		for (i = 1; i <= count; i++)
			lib_level[part[i]] = level
	}
	function libraries_of(text,    row, part, count, n, i, j) {
		count = split(text, row, ";")
		for (i = 1; i <= count; i++) {
			n = split(row[i], part, " ")
			for (j = 2; j <= n; j++)
				may_see[part[1], part[j]] = 1
		}
	}
	function folders_of(text,    row, count, i) {
		count = split(text, row, ";")
		for (i = 1; i <= count; i++)
			if (row[i] != "") sees[substr(row[i], 1, index(row[i] " ", " ") - 1)] = row[i]
	}
	# Of a folder that sees only some of the coordinator: is this of it?
	function hidden(from, to,    part, count, i) {
		if (!(directory(from) in sees) || to !~ /^coordinator\//) return 0
		count = split(sees[directory(from)], part, " ")
		for (i = 1; i <= count; i++)
			if (index(to, part[i]) == 1) return 0
		return 1
	}
	# libc and the kernel: no folder, or one of theirs.
	function of_system(name) {
		return name ~ /^(sys|net|netinet|arpa|linux|bits|asm)\// ||
		       name ~ /^(ctype|dirent|dlfcn|elf|errno|fcntl|getopt|ifaddrs|inttypes|limits|malloc|math)\.h$/ ||
		       name ~ /^(netdb|poll|pthread|pwd|grp|sched|setjmp|signal|spawn|stdarg|stdatomic|stdbool)\.h$/ ||
		       name ~ /^(stddef|stdint|stdio|stdlib|string|strings|termios|time|ucontext|unistd)\.h$/
	}
	function foreign(from, name,    key) {
		if (of_system(name)) return ""
		key = name ~ /\// ? substr(name, 1, index(name, "/")) : name
		if ((key, "*") in may_see || (key, from) in may_see) return ""
		return "is not for this file: tests/layers.sh says who may see which library"
	}
	function knows_agent(path) {
		return path ~ /^core\/(agent[a-z_]*|main|supervise)\.[ch]$/
	}
	function bad(where, text) {
		print where ": " text
		failed = 1
	}
	function directory(path) {
		return path ~ /\// ? substr(path, 1, match(path, /\/[^\/]*$/)) : ""
	}
	# The module of a file of core/lib: http of core/lib/http_write.c.
	function module(path) {
		sub(/^core\/lib\//, "", path)
		sub(/\.[ch]$/, "", path)
		while (!(path in lib_level) && path ~ /_/)
			sub(/_[^_]*$/, "", path)
		return path
	}
	function level(path) {
		if (path == "core/include/wg-mesh/plugin.h") return 0
		if (path ~ /^core\/lib\//) return lib_level[module(path)]
		if (path ~ /^plugins\//) return 5
		if (path ~ /^core\/cli\// || path ~ /^[a-z]+\/main\.c$/) return 7
		return 6
	}
	function sibling(path) {
		return substr(path, 1, index(path, "/") - 1)
	}
	function tidy(path) {
		while (sub(/\/\.\//, "/", path) || sub(/^\.\//, "", path) ||
		       sub(/[^\/]+\/\.\.\//, "", path))
			;
		return path
	}
	# Where the compiler would find it: beside the file, then -I., -Icore and -Icore/include.
	function resolve(from, name, quoted) {
		if (quoted && tidy(directory(from) name) in known) return tidy(directory(from) name)
		if (tidy(name) in known) return tidy(name)
		if (tidy("core/" name) in known) return tidy("core/" name)
		if (tidy("core/include/" name) in known) return tidy("core/include/" name)
		return ""
	}
	function allowed(from, to,    a, b) {
		a = level(from); b = level(to)
		if (to ~ /^core\/agent(_parts)?\.h$/ && from ~ /^core\/[^\/]*$/ && !knows_agent(from))
			return "is the agent: its parts speak through callbacks and know nothing of it"
		if (hidden(from, to))
			return "is not for this folder: tests/layers.sh says what of the coordinator it may see"
		if (b > a) return "points up"
		if (a == 0) return "is more than libc"
		if (a < 5) return ""
		if (a == 5) return b < 4 ? "" : "is not for plugins: plugin.h and core/lib up to the codecs"
		if (b == 5) return "is a plugin: those are loaded, not included"
		if (b >= 6 && sibling(from) != sibling(to)) return "points sideways"
		return ""
	}
	function edge(graph_from, graph_to, where) {
		if (graph_from == graph_to || (graph_from, graph_to) in seen_edge) return
		seen_edge[graph_from, graph_to] = where
		if (!(graph_from in next_of)) nodes[++count] = graph_from
		next_of[graph_from] = next_of[graph_from] graph_to " "
	}
	function visit(node, trail,    part, n, i) {
		colour[node] = 1
		n = split(next_of[node], part, " ")
		for (i = 1; i <= n; i++) {
			if (colour[part[i]] == 1)
				bad(seen_edge[node, part[i]],
				    "closes a cycle: " substr(trail, index(" " trail " ", " " part[i] " ")) " " part[i])
			else if (!colour[part[i]])
				visit(part[i], trail " " part[i])
		}
		colour[node] = 2
	}
	BEGIN {
		libraries_of(libraries); folders_of(folders)
		layer_names(1, base); layer_names(2, values); layer_names(3, codecs); layer_names(4, io)
	}
	FILENAME == ARGV[1] { known[$0] = 1; next }
	FNR == 1 && FILENAME ~ /^core\/lib\// && !(module(FILENAME) in lib_level) {
		bad(FILENAME ":1", "has no layer: name it in tests/layers.sh and core/lib/README.md")
		lib_level[module(FILENAME)] = 1
	}
	/^[ \t]*#[ \t]*include[ \t]*["<]/ {
		quoted = $0 ~ /include[ \t]*"/
		name = $0
		sub(/^[^"<]*["<]/, "", name)
		sub(/[">].*/, "", name)
		to = resolve(FILENAME, name, quoted)
		if (to == "") {
			why = foreign(FILENAME, name)
			if (why != "") bad(FILENAME ":" FNR, name " " why)
			next
		}
		why = allowed(FILENAME, to)
		if (why != "") bad(FILENAME ":" FNR, name " " why)
		if (to ~ /^core\/lib\// && FILENAME ~ /^core\/lib\//)
			edge("lib/" module(FILENAME), "lib/" module(to), FILENAME ":" FNR)
		else if (FILENAME ~ /\.h(pp)?$/)
			edge(FILENAME, to, FILENAME ":" FNR)
	}
	/^[ \t]*#[ \t]*include[ \t]*[^"< \t]/ { bad(FILENAME ":" FNR, "an include must say its name") }
	END {
		for (i = 1; i <= count; i++)
			if (!colour[nodes[i]]) visit(nodes[i], nodes[i])
		exit failed
	}' "$list" $(cat "$list")
}

# put FILE LINE...: one file of the tree for the self-test
put() {
	mkdir -p "$tree/$(dirname "$1")"
	file=$1
	shift
	printf '%s\n' "$@" > "$tree/$file"
}

# expect WHERE TEXT FILE LINE...: the file is bad, and is reported like that; then it is gone again
expect() {
	where=$1 text=$2 bad_file=$3
	shift 2
	kept=
	[ ! -f "$tree/$bad_file" ] || kept=$(cat "$tree/$bad_file")
	put "$@"
	if found=$(check "$tree"); then
		echo "layers.sh: does not notice that $where $text"
		exit 1
	fi
	case $found in
	*"$where: "*"$text"*) ;;
	*)
		echo "layers.sh: should say \"$where: ...$text\", says: $found"
		exit 1
		;;
	esac
	rm "$tree/$bad_file"
	[ -z "$kept" ] || put "$bad_file" "$kept"
}

self_test() {
	put core/include/wg-mesh/plugin.h '#include <stdint.h>'
	put core/lib/util.h '#include <stddef.h>'
	put core/lib/buf.h '#include "util.h"'
	put core/lib/buf.c '#include "str.h"'
	put core/lib/str.c '#include "util.h"'
	put core/lib/str.h '#include "util.h"'
	put core/lib/addr.h '#include "util.h"'
	put core/lib/http.h '#include "buf.h"'
	put core/lib/http_write.c '#include "http.h"' '#include "addr.h"'
	put core/lib/loop.h '#include "util.h"'
	put core/wg.h '#include "lib/addr.h"'
	put core/agent.h '#include "wg.h"' '#include <wg-mesh/plugin.h>' '#include "lib/loop.h"'
	put core/main.c '#include "agent.h"'
	put core/cli/main.c '#include "wg.h"'
	put coordinator/net.h '#include "lib/http.h"'
	put plugins/natmap-pcp.c '#include <wg-mesh/plugin.h>' '#include "lib/http.h"'
	if ! found=$(check "$tree"); then
		echo "layers.sh: refuses a good tree: $found"
		exit 1
	fi
	expect core/lib/str.c:2 'addr.h points up' core/lib/str.c '#include "str.h"' '#include "addr.h"'
	expect core/lib/addr.c:1 'lib/http.h points up' core/lib/addr.c '#include "lib/http.h"'
	expect core/lib/http_read.c:3 'loop.h points up' core/lib/http_read.c '' '' ' # include "loop.h"'
	expect core/lib/loop.c:1 '../wg.h points up' core/lib/loop.c '#include "../wg.h"'
	expect core/lib/helpers.c:1 'has no layer' core/lib/helpers.c ''
	expect core/include/wg-mesh/plugin.h:1 'lib/util.h points up' core/include/wg-mesh/plugin.h '#include "lib/util.h"'
	expect plugins/a.c:1 'is not for plugins' plugins/a.c '#include "lib/loop.h"'
	expect plugins/a.c:1 'wg.h points up' plugins/a.c '#include "wg.h"'
	expect coordinator/x.c:1 '../core/wg.h points sideways' coordinator/x.c '#include "../core/wg.h"'
	expect coordinator/main.c:1 'wg.h points sideways' coordinator/main.c '#include "wg.h"'
	expect relay/x.c:1 'points sideways' relay/x.c '#include "../coordinator/net.h"'
	expect coordinator/store/a.c:1 'coordinator/net.h is not for this folder' coordinator/store/a.c \
		'#include "coordinator/net.h"'
	expect core/wg.c:1 'is a plugin' core/wg.c '#include "../plugins/natmap-pcp.c"'
	expect core/lib/str.c:1 'points up' core/lib/str.c '#include <lib/loop.h>'
	expect core/lib/buf.h:1 'closes a cycle: lib/util lib/buf lib/util' core/lib/util.h '#include "buf.h"'
	expect core/lib/str.c:1 'closes a cycle: lib/buf lib/str lib/buf' core/lib/str.c '#include "buf.h"' \
		'#include "str.h"'
	expect core/wg.c:1 'is the agent' core/wg.c '#include "agent.h"'
	expect core/fetch.c:1 'openssl/ssl.h is not for this file' core/fetch.c '#include <openssl/ssl.h>'
	expect relay/x.c:1 'glib.h is not for this file' relay/x.c '#include <glib.h>'
	expect core/wg.c:2 'must say its name' core/wg.c '#define HEADER "agent.h"' '#include HEADER'
	expect core/wg.h:1 'closes a cycle: core/agent.h core/wg.h core/agent.h' core/wg.h '#include "agent.h"'
}

list=$(mktemp)
tree=$(mktemp -d)
trap 'rm -rf "$list" "$tree"' EXIT INT TERM
if [ $# -eq 0 ]; then
	self_test
	set -- "$(dirname "$0")/.."
fi
check "$1" || {
	echo "not ok layers"
	exit 1
}
echo "ok layers: $(wc -l < "$list") files, every include points down"
