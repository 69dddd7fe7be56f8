#!/bin/sh
# shape.sh - the house's measures: no function over 80 lines, no file over 500, no folder of code
# without a README. Prints offenders; exit code 1 if there is any. SHAPE_WIDTH=100 looks at the width
# of lines too.
cd "$(dirname "$0")/.." || exit 1
bad=0
# Where a folder has only what its parent's page is about, the parent's will do.
for dir in $(find core coordinator relay plugins hooks etc tests -type f ! -name '*.md' ! -path 'tests/fuzz/corpus/*' |
	sed 's|/[^/]*$||' | sort -u); do
	case $dir in
	etc/* | core/include/* | tests/unit/store | */fixtures) dir=${dir%%/[!/]*} ;;
	esac
	[ -f "$dir/README.md" ] || {
		echo "$dir: has no README.md"
		bad=1
	}
done
# A second line of one name would win, and leave out what the first has.
twice=$(cut -d: -f1 tests/unit/sources.mk | grep '^SRC' | sort | uniq -d)
[ -z "$twice" ] || {
	echo "tests/unit/sources.mk: more than one line of $twice"
	bad=1
}
files=$(find core coordinator relay plugins -name '*.[ch]')
# shellcheck disable=SC2086 # words are wanted; the project's files have no blanks in their names
awk '
	FNR == 1 { start = 0 }
	FNR == 501 { print FILENAME ": over 500 lines"; bad = 1 }
	{
		width = 0
		if (WIDTH && length($0) > 60) {
			line = $0
			for (i = 1; i <= length(line); i++)
				width += substr(line, i, 1) == "\t" ? 8 - width % 8 : 1
			if (width > WIDTH) { print FILENAME ":" FNR ": " width " columns"; bad = 1 }
		}
	}
	/^[a-zA-Z].*[(]/ && !/;$/ { name = $0 }
	/^{$/ { start = FNR }
	/^}$/ && start {
		if (FNR - start - 1 > 80) {
			print FILENAME ":" start ": " FNR - start - 1 " lines: " name
			bad = 1
		}
		start = 0
	}
	END { exit bad }' WIDTH="${SHAPE_WIDTH:-0}" $files || bad=1
[ $bad = 0 ] || {
	echo "not ok shape"
	exit 1
}
echo "ok shape: functions, files and folders are as the house wants them"
