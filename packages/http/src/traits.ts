/** The block has a `Date`. */
export const TRAIT_DATE: number = 1
/** The block has an `Expect`. */
export const TRAIT_EXPECT: number = 2
/** The block has hop-by-hop fields; see `removeHopByHop`. */
export const TRAIT_HOP_BY_HOP: number = 4
/** Its hop-by-hop lines do not stand together, or `Connection` lists fields of the sender's own. */
export const TRAIT_SCATTERED: number = 8
/** Among its hop-by-hop fields is `Upgrade`. */
export const TRAIT_UPGRADE: number = 16
/** Among its hop-by-hop fields is `TE`. */
export const TRAIT_TE: number = 32
