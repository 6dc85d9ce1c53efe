# settings.awk - the table of `ohemd --help-config` as a part of ohemd.conf(5).
function escape(text) { gsub(/\\/, "\\e", text); gsub(/-/, "\\-", text); sub(/^[.']/, "\\\\\\&&", text); return text }
function trim(text) { sub(/ +$/, "", text); return text }
NR == 1 { default_at = index($0, "default"); range_at = index($0, "range"); meaning_at = index($0, "meaning"); next }
/^$/ { next }
/^\[/ { print ".SH \"" $0 "\""; next }
{
    name = trim(substr($0, 1, default_at - 1))
    print ".TP"
    print ".B " escape(name)
    print escape(substr($0, meaning_at)) "."
    print "Range: " escape(trim(substr($0, range_at, meaning_at - range_at))) "; default: " \
        escape(trim(substr($0, default_at, range_at - default_at))) "."
}
