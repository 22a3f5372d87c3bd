# R reads the CSV: as many rows, and the sum of the probabilities, as are named.
# readers.R LONG.csv ROWS SUM LABELS
arguments <- commandArgs(trailingOnly = TRUE)
table <- read.csv(arguments[1], check.names = FALSE, stringsAsFactors = FALSE, na.strings = "")
stopifnot(nrow(table) == as.integer(arguments[2]))
stopifnot(abs(sum(table$probability, na.rm = TRUE) - as.numeric(arguments[3])) < 1e-6)
stopifnot(length(unique(na.omit(table$label))) == as.integer(arguments[4]))
stopifnot(is.character(table$positive) || is.logical(table$positive))
moment <- as.POSIXct(table$read_at[1], format = "%Y-%m-%dT%H:%M:%OSZ", tz = "UTC")
stopifnot(!is.na(moment))
cat("R, CSV:", nrow(table), "rows\n")
