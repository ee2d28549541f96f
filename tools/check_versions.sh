#!/bin/sh
#
# check_versions.sh: server versions are told apart in base/compat.h only, and
# our own version is written once (the control file) and repeated correctly.
#
set -u
status=0

result() {	# NAME PROBLEMS
	if [ -z "$2" ]; then
		echo "ok - $1"
	else
		echo "not ok - $1"
		echo "$2" | sed 's/^/#   /'
		status=1
	fi
}

result 'PG_VERSION_NUM is tested in base/compat.h only' "$(find src -name '*.[ch]' \
	! -path src/base/compat.h -exec grep -n PG_VERSION_NUM /dev/null {} +)"

version=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" courier_pii.control)
pattern=$(printf '%s\n' "$version" | sed 's/\./\\./g')
problem=
case $version in
	'' | *[!0-9.]*) problem="default_version of the control file: \"$version\"" ;;
esac
result 'the control file has a version' "$problem"

problem=
[ -f META.json ] || { echo 'not ok - META.json agrees'; echo '#   META.json is missing'; exit 1; }
[ -f CHANGELOG.md ] || { echo 'not ok - CHANGELOG.md agrees'; echo '#   CHANGELOG.md is missing'; exit 1; }
grep -q "\"version\" *: *\"$pattern\"" META.json ||
	problem="META.json does not say $version"
if [ "$(grep -c '"version" *:' META.json)" -ne "$(grep -c "\"version\" *: *\"\($pattern\|1\.0\.0\)\"" META.json)" ]; then
	problem="META.json has another version than $version"
fi
result 'META.json agrees' "$problem"

problem=
grep -q "^## \[\{0,1\}${pattern}[] ]" CHANGELOG.md ||
	grep -q "^## \[\{0,1\}$pattern\$" CHANGELOG.md ||
	problem="CHANGELOG.md has no block for $version"
result 'CHANGELOG.md agrees' "$problem"

result 'no other file repeats the version' "$(find src schema -type f -name '*.[chs]*' \
	-exec grep -n "[^0-9.]${pattern}[^0-9.]" /dev/null {} + 2>/dev/null)"

exit $status
