#!/bin/sh
# manuals.sh DIR - every command and option that the programs in DIR show with --help is in their
# manual pages; those of wg-mesh-coordinator are also shown to be needed, or to repeat, as there.
set -u
cd "$(dirname "$0")/.." || exit 1
dir=$1
missing=$(mktemp)
trap 'rm -f "$missing"' EXIT

options() { # PAGE COMMAND...: the options of that help text
	page=$1
	shift
	"$@" --help | sed -nE 's/^ +(-[a-z], )?--([a-z][a-z-]*).*/\2/p' | while read -r option; do
		grep -qE "(Fl|,) -$option( |,|\$)" "$page" || echo "$page: lacks --$option, which \`$* --help\` shows"
	done
}
# The rows of "commands:" without what they take: "network create".
rows() { "$@" --help | sed -nE '/^commands:/,/^$/{/^  /{s/^  //;s/( [A-Z]|  ).*//;p}}'; }
# What the help of a command says is needed or may repeat is shown so in the page.
shapes() { # ROW
	page=etc/man/wg-mesh-coordinator.8
	line=$(grep -E "^\.It Cm $1( |\$)" $page) || return 0 # that of serve has lines of its own
	# shellcheck disable=SC2086 # words are wanted
	"$dir/wg-mesh-coordinator" $1 --help | sed -nE 's/^ +--([a-z][a-z-]*).*(needed$|may repeat).*/\1 \2/p' |
		while read -r option how; do
			case $how in
			needed) wanted="(Cm $1|Ar [a-z]+|Oc) Fl -$option " ;;
			*) wanted="O[op] Fl -$option Ar [a-z:]+ \.\.\." ;;
			esac
			echo "$line" | grep -qE "$wanted" ||
				echo "$page: \"$1\" lacks that --$option is what \`--help\` says: $how"
		done
}
# A page as words only.
plain() { sed -E 's/^\.[A-Z][a-z] //; s/(^| )(Cm|Ar|Op|Oo|Oc)( |$)/ /g; s/  +/ /g; s/^ | $//g' "$1"; }

for program in wg-mesh wg-meshd wg-mesh-relay wg-mesh-coordinator; do
	for page in etc/man/$program.?; do
		options "$page" "$dir/$program"
	done
done >"$missing"
for command in $("$dir/wg-mesh" --help | sed -nE 's/^  ([a-z]+) +.*/\1/p'); do
	grep -q "^\.Ss $command" etc/man/wg-mesh.1 || echo "etc/man/wg-mesh.1: lacks $command"
	options etc/man/wg-mesh.1 "$dir/wg-mesh" "$command"
done >>"$missing"
rows "$dir/wg-mesh-coordinator" | while read -r row; do
	plain etc/man/wg-mesh-coordinator.8 | grep -qE "^$row( |\$)" ||
		echo "etc/man/wg-mesh-coordinator.8: lacks \"$row\""
	# shellcheck disable=SC2086 # words are wanted
	options etc/man/wg-mesh-coordinator.8 "$dir/wg-mesh-coordinator" $row
	shapes "$row"
done | sort -u >>"$missing"
if [ -s "$missing" ]; then
	cat "$missing"
	echo "not ok manual pages"
	exit 1
fi
echo "ok manual pages have every command and option of --help"
