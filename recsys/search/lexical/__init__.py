"""Search by words: BM25 with stemming, segmentation, typo tolerance, phrases and exclusions, by tantivy."""
