"""Recounts availability by carry-save addition (Harley and Seal): 64 pieces at once, sixteen bitsets at once.

    planes   uint64[PLANES][BLOCK]   bit p of the counts of 64 pieces is one word of plane p
                                                    piece  63 ... 2 1 0
    plane 0  [ones     | ... ]                    plane 0:  1 ... 1 0 1
    plane 1  [twos     | ... ]                    plane 1:  0 ... 1 0 0      piece 2 has 3 copies, piece 0 has 1
      ...
    plane 4  [sixteens | ... ]   carries of sixteen rows out of planes 0..3 ripple on from here

BLOCK words of every bitset are added up. Then their counts and levels are read from the planes, so the planes stay in the cache.
"""
