use crate::Setting;
use crate::noise::Spread;
pub fn run(_: &Setting) -> Option<Spread> {
    None
}
