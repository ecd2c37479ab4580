# Z-scores within the brain, brought to the level of the training scans. Base R alone.
#
#   Rscript zscore.R fit TRAIN_CSV MODEL_DIR
#   Rscript zscore.R transform INPUT MASK OUTPUT MODEL_DIR
#
# fit writes the mean of the training scans' means and of their standard deviations.

CODES <- c("2", "4", "8", "16", "64", "256", "512", "768")
KINDS <- list(
  what = c("integer", "integer", "integer", "double", "double", "integer", "integer", "integer"),
  size = c(1, 2, 4, 4, 8, 1, 2, 4),
  signed = c(FALSE, TRUE, TRUE, TRUE, TRUE, TRUE, FALSE, TRUE)
)

# Number at a place of the header, which counts bytes from 0.
at <- function(header, offset, what, size, endian, n = 1) {
  bytes <- header[offset + seq_len(size * n)]
  readBin(bytes, what, n = n, size = size, endian = endian)
}

# Read a NIfTI-1 image (.nii or .nii.gz): its header, and its scaled voxels as a vector.
read_nifti <- function(path) {
  stream <- gzfile(path, "rb") # reads files that are not packed, too
  on.exit(close(stream))
  header <- readBin(stream, "raw", 348)
  endian <- if (at(header, 0, "integer", 4, "little") == 348) "little" else "big"
  if (at(header, 0, "integer", 4, endian) != 348) stop("expected a NIfTI-1 image, found ", path)
  shape <- at(header, 40, "integer", 2, endian, 8)
  count <- prod(shape[2:(1 + shape[1])])
  kind <- match(as.character(at(header, 70, "integer", 2, endian)), CODES)
  if (is.na(kind)) stop("expected voxels that are real numbers, found others in ", path)
  readBin(stream, "raw", at(header, 108, "double", 4, endian) - 348) # up to the first voxel
  voxels <- readBin(
    stream, KINDS$what[kind], count, KINDS$size[kind], KINDS$signed[kind], endian
  )
  if (length(voxels) != count) stop("expected ", count, " voxels, found fewer in ", path)
  if (KINDS$what[kind] == "integer") voxels[is.na(voxels)] <- -2^31 # what R takes for NA
  if (CODES[kind] == "768") voxels <- ifelse(voxels < 0, voxels + 2^32, voxels)
  slope <- at(header, 112, "double", 4, endian)
  if (is.finite(slope) && slope != 0) voxels <- voxels * slope + at(header, 116, "double", 4, endian)
  list(header = header, endian = endian, voxels = voxels)
}

# Write voxels as float32 under another image's header: the same shape, affine and byte order.
write_nifti <- function(voxels, like, path) {
  put <- function(header, offset, value, size) {
    bytes <- writeBin(value, raw(), size = size, endian = like$endian)
    header[offset + seq_along(bytes)] <- bytes
    header
  }
  header <- put(like$header, 70, 16L, 2)
  header <- put(header, 72, 32L, 2)
  header <- put(header, 108, 352, 4)
  header <- put(header, 112, 1, 4)
  header <- put(header, 116, 0, 4)
  header[344 + 1:4] <- as.raw(c(0x6e, 0x2b, 0x31, 0x00)) # "n+1": header and voxels in one file
  stream <- if (endsWith(path, ".gz")) gzfile(path, "wb") else file(path, "wb")
  on.exit(close(stream))
  writeBin(c(header, raw(4)), stream)
  writeBin(as.double(voxels), stream, size = 4, endian = like$endian)
}

# Mean and standard deviation (over n, as numpy has it) within the brain.
level <- function(voxels, brain) {
  inside <- voxels[brain]
  c(mean(inside), sqrt(mean((inside - mean(inside))^2)))
}

fit <- function(table, model) {
  scans <- read.csv(table, colClasses = "character")
  found <- mapply(
    function(image, mask) level(read_nifti(image)$voxels, read_nifti(mask)$voxels > 0),
    scans$image, scans$mask
  )
  writeLines(sprintf("%.17g", rowMeans(found)), file.path(model, "level.txt"))
}

transform <- function(input, mask, output, model) {
  goal <- as.numeric(readLines(file.path(model, "level.txt")))
  image <- read_nifti(input)
  own <- level(image$voxels, read_nifti(mask)$voxels > 0)
  write_nifti((image$voxels - own[1]) / own[2] * goal[2] + goal[1], image, output)
}

words <- commandArgs(trailingOnly = TRUE)
step <- switch(words[1], fit = fit, transform = transform, stop("expected fit or transform"))
do.call(step, as.list(words[-1]))
