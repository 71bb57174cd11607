# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Reads what gst-launch-1.0 -m says, shows the partime-learning messages as
# one line that moves (on a terminal) and leaves "frame<TAB>loss" in @losses.

function field (name, found) {
  if (!match ($0, "[ ,]" name "=\\([a-z0-9]+\\)[-+.0-9e]+"))
    return ""
  found = substr ($0, RSTART, RLENGTH)
  sub (/.*\)/, "", found)
  return found
}

# The times of each stage, forward + backward + update, as "3.1+2.9".
function stages (rest, out, n, i, total, parts, value) {
  rest = $0
  gsub (/\\/, "", rest)
  n = split (rest, parts, /forward-ms=\(double\)/)
  for (i = 2; i <= n; i++) {
    total = parts[i] + 0
    if (match (parts[i], /backward-ms=\(double\)[-+.0-9e]+/))
      total += substr (parts[i], RSTART + 20, RLENGTH - 20)
    if (match (parts[i], /update-ms=\(double\)[-+.0-9e]+/))
      total += substr (parts[i], RSTART + 18, RLENGTH - 18)
    out = out (i > 2 ? " | " : "") sprintf ("%.1f", total)
  }
  return out
}

/partime-learning/ {
  loss = field("mean-loss")
  line = sprintf ("frame %6d  %5.1f fps  loss %-8s updates %6d  ms per " \
    "stage: %s", field("frame"), field("fps"),
    loss == "" ? "-" : sprintf ("%.5f", loss), field("updates"), stages())
  printf terminal ? "\r%-78s" : "%s\n", line
  fflush ()
  # in order: a message may be overtaken
  if (loss != "" && field("frame") + 0 > newest) {
    newest = field("frame") + 0
    print field("frame") "\t" loss > losses
  }
  last = line
  next
}

/^Got message/ { next }

END {
  if (terminal && last != "")
    print ""
}
