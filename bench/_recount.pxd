"""Availability counted anew, by carry-save addition (Harley and Seal): 64 pieces at once, sixteen bitsets at once.

    planes   uint64[PLANES][BLOCK]   bit p of the counts of 64 pieces is one word of plane p
                                                    piece  63 ... 2 1 0
    plane 0  [ones     | ... ]                    plane 0:  1 ... 1 0 1
    plane 1  [twos     | ... ]                    plane 1:  0 ... 1 0 0      piece 2 has 3 copies, piece 0 has 1
      ...
    plane 4  [sixteens | ... ]   what sixteen rows carry out of planes 0..3 ripples on from here

BLOCK words of every bitset are added up, then their counts and levels are read off the planes, so the planes stay in the cache.
"""
