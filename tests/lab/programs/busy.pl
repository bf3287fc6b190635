# SPDX-License-Identifier: Apache-2.0
# Hashes, regular expressions, sorting and sprintf; prints only what every run must print.
use strict;
use warnings;
$| = 1;
my ($rounds) = @ARGV;
my ($x, %words, @lines) = (12345);
sub number { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return $x >> 8 }

for my $round (0 .. $rounds - 1) {
	for (1 .. 3000) {
		my $word = join '', map { chr(97 + number() % 26) } 1 .. 2 + number() % 2;
		$words{$word}++;
	}
	my $text = join ' ', map { "$_=$words{$_}" } (sort keys %words)[0 .. 400];
	my $count = () = $text =~ /\b([a-m])\w*=(\d+)/g;
	(my $swapped = $text) =~ s/(\w+)=(\d+)/$2=$1/g;
	my $sum = 0;
	$sum = ($sum * 31 + ord) % 1000000007 for split //, $swapped;
	printf "%d %d %d %d\n", $round, scalar(keys %words), $count, $sum;
}
